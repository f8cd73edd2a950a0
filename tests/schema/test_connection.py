"""Real failures against the real server; what no server here does is done by ``wire``."""

from __future__ import annotations

import pickle
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import (
    DatabaseError,
    Error,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    connections,
    transaction,
)

from hodei.schema.connection import (
    ConnectionFailed,
    EngineNotSupported,
    check_connection,
    connection_errors,
    connection_failed,
)
from hodei.schema.reasons import ADVICE, Reason
from tests.schema.wire import fake_server, refusal, welcome

Point = Callable[..., str]
PASSWORD = "correct-horse"


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port where somebody takes the call and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def failure(alias: str) -> ConnectionFailed:
    with pytest.raises(ConnectionFailed) as caught:
        check_connection(alias)
    return caught.value


def nowhere(**changes: Any) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "shop",
        "HOST": "127.0.0.1",
        "PORT": "5432",
        "USER": "ada",
        "PASSWORD": PASSWORD,
        **changes,
    }


class TestCheckConnection:
    def test_is_content_with_a_database_that_answers(self, scratch: str) -> None:
        check_connection(scratch)

        assert connections[scratch].connection is not None

    def test_names_an_unknown_host(self, point_alias: Point) -> None:
        found = failure(point_alias(nowhere(HOST="no-such-host.invalid")))

        assert found.reason is Reason.UNKNOWN_HOST
        assert (found.host, found.port) == ("no-such-host.invalid", "5432")
        assert (found.database, found.user) == ("shop", "ada")

    def test_names_a_refused_connection(self, point_alias: Point, closed_port: int) -> None:
        found = failure(point_alias(nowhere(PORT=str(closed_port))))

        assert found.reason is Reason.REFUSED
        assert f"127.0.0.1:{closed_port}" in str(found)

    def test_names_a_socket_nobody_listens_on(self, point_alias: Point, tmp_path: Any) -> None:
        found = failure(point_alias(nowhere(HOST=str(tmp_path))))

        assert found.reason is Reason.REFUSED
        assert f"at socket {tmp_path} (port 5432)" in str(found)

    def test_names_a_timeout(self, point_alias: Point, silent_port: int) -> None:
        options = {"connect_timeout": 2, "sslmode": "disable"}
        found = failure(point_alias(nowhere(PORT=str(silent_port), OPTIONS=options)))

        assert found.reason is Reason.TIMEOUT

    def test_names_a_missing_database(self, point_alias: Point, database: dict[str, Any]) -> None:
        found = failure(point_alias(database, NAME="hodei_schema_no_such"))

        assert found.reason is Reason.NO_DATABASE
        assert found.database == "hodei_schema_no_such"
        assert 'FATAL: database "hodei_schema_no_such" does not exist' in str(found)

    def test_names_a_role_that_may_not_log_in(
        self, point_alias: Point, database: dict[str, Any]
    ) -> None:
        found = failure(point_alias(database, USER="pg_monitor"))

        # Where the server asks for a password first, it says no more than that this failed.
        assert found.reason in {Reason.NOT_ADMITTED, Reason.WRONG_PASSWORD}
        assert found.user == "pg_monitor"

    def test_names_a_missing_role(self, point_alias: Point, database: dict[str, Any]) -> None:
        found = failure(point_alias(database, USER="hodei_schema_nobody"))

        assert found.reason in {Reason.NO_ROLE, Reason.WRONG_PASSWORD}
        assert found.user == "hodei_schema_nobody"

    def test_names_a_wrong_password(self, point_alias: Point) -> None:
        answer = refusal("28P01", 'password authentication failed for user "ada"')
        with fake_server(answer, asks_password=True) as port:
            found = failure(point_alias(nowhere(PORT=str(port))))

        assert found.reason is Reason.WRONG_PASSWORD
        assert 'FATAL: password authentication failed for user "ada"' in str(found)
        assert PASSWORD not in str(found)

    @pytest.mark.parametrize(
        ("sqlstate", "text", "reason"),
        [
            ("57P03", "the database system is starting up", Reason.STARTING),
            ("53300", "sorry, too many clients already", Reason.FULL),
            ("28000", 'no pg_hba.conf entry for host "10.0.0.1"', Reason.NOT_ADMITTED),
            ("28000", "le rôle « ada » n'existe pas", Reason.OTHER),
        ],
    )
    def test_names_what_the_server_refuses_for(
        self, point_alias: Point, sqlstate: str, text: str, reason: Reason
    ) -> None:
        with fake_server(refusal(sqlstate, text)) as port:
            found = failure(point_alias(nowhere(PORT=str(port))))

        assert found.reason is reason
        assert found.words == f"FATAL: {text}"

    @pytest.mark.parametrize("version", ["13.4", "14.19"])
    def test_refuses_an_old_server_each_time(self, point_alias: Point, version: str) -> None:
        with fake_server(welcome(version)) as port:
            alias = point_alias(nowhere(PORT=str(port)))
            first, second = failure(alias), failure(alias)

        assert first.reason is second.reason is Reason.TOO_OLD
        assert f"found {version}" in first.words
        assert "Use PostgreSQL 15 or later." in str(first)
        assert first.port == str(port)

    def test_refuses_what_django_would_accept(
        self, scratch: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("hodei.schema.connection.MINIMUM_VERSION", 99)

        found = failure(scratch)

        assert found.reason is Reason.TOO_OLD
        assert "PostgreSQL 99 or later is required (found 1" in found.words
        assert connections[scratch].connection is None

    def test_names_an_option_libpq_does_not_know(
        self, point_alias: Point, database: dict[str, Any]
    ) -> None:
        found = failure(point_alias(database, OPTIONS={"colour": "red"}))

        assert found.reason is Reason.BAD_OPTION
        assert "colour" in found.words

    def test_masks_a_password_that_strays_into_the_words(
        self, point_alias: Point, database: dict[str, Any]
    ) -> None:
        found = failure(point_alias(database, PASSWORD=PASSWORD, OPTIONS={"sslmode": PASSWORD}))

        assert found.words == 'invalid sslmode value: "***"'

    def test_replaces_a_connection_that_died_meanwhile(self, scratch: str) -> None:
        check_connection(scratch)
        kill(scratch)

        check_connection(scratch)

        assert connections[scratch].is_usable()

    def test_refuses_another_engine(self, point_alias: Point) -> None:
        alias = point_alias({"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"})

        with pytest.raises(EngineNotSupported, match=r"django\.db\.backends\.sqlite3") as caught:
            check_connection(alias)

        assert caught.value.exit_code == 2


def kill(alias: str) -> None:
    """End the session of the alias from another one, and wait until it is gone."""
    pid = connections[alias].connection.info.backend_pid
    with connections["default"]._nodb_cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])
        assert cursor.fetchone() == (True,)


class TestConnectionFailed:
    def test_tells_a_session_that_was_ended(self, scratch: str) -> None:
        check_connection(scratch)
        kill(scratch)

        with pytest.raises(ConnectionFailed) as caught, connection_errors(scratch):
            connections[scratch].cursor().execute("SELECT 1")

        assert caught.value.reason is Reason.LOST
        assert caught.value.database == connections.settings[scratch]["NAME"]

    @pytest.mark.parametrize(
        "statement",
        [
            "SELECT 1/0",
            "SELECT * FROM nothing_of_this_name",
            "SET ROLE nobody_of_this_name",
            "DROP DATABASE nothing_of_this_name",
            # What dblink raises when *its* server cannot be reached.
            "DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '08001'; END $$",
            "SET LOCAL statement_timeout = 1; SELECT pg_sleep(10)",
        ],
    )
    def test_leaves_the_error_of_a_statement_alone(self, scratch: str, statement: str) -> None:
        with pytest.raises(DatabaseError) as caught, transaction.atomic(using=scratch):
            connections[scratch].cursor().execute(statement)

        assert connection_failed(caught.value, scratch) is None

    def test_leaves_a_lock_timeout_alone(self, scratch: str, database: dict[str, Any]) -> None:
        import psycopg

        with psycopg.connect(
            host=database["HOST"],
            port=database["PORT"],
            user=database["USER"],
            password=database["PASSWORD"],
            dbname=database["NAME"],
        ) as holder:
            holder.execute("CREATE TABLE wanted ()")
            holder.commit()
            holder.execute("LOCK TABLE wanted")
            with connections[scratch].cursor() as cursor:
                cursor.execute("SET lock_timeout = '10ms'")
                with pytest.raises(OperationalError) as caught:
                    cursor.execute("SELECT FROM wanted")

        assert connection_failed(caught.value, scratch) is None

    @pytest.mark.parametrize(
        "error",
        [
            OperationalError("no cause"),
            NotSupportedError("contains lookup is not supported on this database backend."),
            ProgrammingError("the cursor is closed"),
        ],
    )
    def test_leaves_errors_that_came_from_no_server_alone(self, error: Error) -> None:
        assert connection_failed(error) is None

    def test_takes_the_default_database_for_an_unknown_alias(self) -> None:
        error = NotSupportedError("PostgreSQL 15 or later is required (found 13.4).")

        found = connection_failed(error, "no such alias")

        assert found is not None
        assert found.database == str(connections.settings["default"]["NAME"])

    def test_reads_the_settings_where_the_driver_has_forgotten(
        self, point_alias: Point, tmp_path: Any
    ) -> None:
        alias = point_alias(nowhere(HOST=str(tmp_path)))
        with pytest.raises(OperationalError) as caught:
            connections[alias].ensure_connection()
        caught.value.__cause__.pgconn.finish()  # type: ignore[union-attr]

        found = connection_failed(caught.value, alias)

        assert found is not None
        assert (found.host, found.database, found.user) == (str(tmp_path), "shop", "ada")

    def test_other_errors_pass_through_the_block(self, scratch: str) -> None:
        with pytest.raises(ProgrammingError), connection_errors(scratch):
            connections[scratch].cursor().execute("SELECT * FROM nothing_of_this_name")

    @pytest.mark.parametrize("reason", Reason)
    def test_is_one_line_with_everything_an_operator_needs(self, reason: Reason) -> None:
        found = ConnectionFailed(
            host="db", port="5433", database="shop", user="ada", reason=reason, words="FATAL: no"
        )

        assert str(found) == (
            f"Cannot use database 'shop' at db:5433 as user 'ada': {reason} (FATAL: no). "
            f"{ADVICE[reason]}"
        )
        assert "\n" not in str(found)
        assert found.exit_code == 3

    def test_a_user_nobody_named_is_the_default(self) -> None:
        found = ConnectionFailed(
            host="db", port="5433", database="shop", user="", reason=Reason.LOST, words="gone"
        )

        assert "at db:5433 as the default user: connection lost" in str(found)

    def test_survives_the_way_between_processes(self) -> None:
        found = ConnectionFailed(
            host="db", port="5433", database="shop", user="ada", reason=Reason.LOST, words="gone"
        )

        assert str(pickle.loads(pickle.dumps(found))) == str(found)
