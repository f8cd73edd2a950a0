"""The environment, read as settings read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hodei.env import (
    DatabaseURLError,
    Process,
    Safety,
    SettingsError,
    as_bool,
    as_seconds,
    database_from_env,
    database_from_url,
    pool_options,
    process_of,
    redacted,
    refuse_unsafe,
)

COMMAND = Process("command", "migrate")
SERVING = Process("serving", "runserver")
AGENT = Process("agent", "jobs_worker")
URL = "postgresql://u:p@db.example:6543/app"


def read(values: dict[str, str], process: Process, tmp_path: Path) -> dict[str, Any]:
    return database_from_env(values, process, tmp_path / "pg")


class TestDatabaseFromURL:
    @pytest.mark.parametrize(
        "scheme",
        ["postgres", "postgresql", "pgsql", "psql", "postgresql+psycopg", "postgres+psycopg"],
    )
    def test_every_usual_scheme_is_postgresql(self, scheme: str) -> None:
        database = database_from_url(f"{scheme}://u:p@db.example:6543/app")

        assert database["ENGINE"] == "django.db.backends.postgresql"
        assert (database["HOST"], database["PORT"]) == ("db.example", 6543)
        assert (database["USER"], database["PASSWORD"]) == ("u", "p")
        assert database["NAME"] == "app"

    @pytest.mark.parametrize("url", ["mysql://u:p@h/n", "sqlite:///x.db", "u:p@h/n", "h/n"])
    def test_another_scheme_is_refused_with_what_is_allowed(self, url: str) -> None:
        with pytest.raises(DatabaseURLError) as caught:
            database_from_url(url)

        assert "postgresql://USER:PASSWORD@HOST:PORT/NAME" in str(caught.value)
        assert caught.value.exit_code == 3

    @pytest.mark.parametrize(
        ("url", "found"),
        [
            ("postgresql://u:secret@h:port/n", "cannot be read"),
            ("postgresql://u:secret@[::1/n", "cannot be read"),
            ("postgresql://u:secret@h/", "names no database"),
            ("postgresql://u:secret@h/n?CONN_MAX_AGE=soon", "not a whole number"),
        ],
    )
    def test_what_cannot_be_read_is_said_without_the_password(self, url: str, found: str) -> None:
        with pytest.raises(DatabaseURLError, match=found) as caught:
            database_from_url(url)

        assert "secret" not in str(caught.value)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(("word", "value"), [("false", False), ("1", True), ("off", False)])
    @pytest.mark.parametrize("name", ["ATOMIC_REQUESTS", "CONN_HEALTH_CHECKS"])
    def test_booleans_of_django_are_booleans(self, name: str, word: str, value: bool) -> None:
        assert database_from_url(f"{URL}?{name}={word}")[name] is value

    @pytest.mark.parametrize("name", ["pool", "server_side_binding"])
    def test_booleans_of_the_backend_are_booleans(self, name: str) -> None:
        assert database_from_url(f"{URL}?{name}=true")["OPTIONS"] == {name: True}

    def test_a_boolean_that_is_none_is_refused(self) -> None:
        with pytest.raises(SettingsError, match="pool in DATABASE_URL='maybe'"):
            database_from_url(f"{URL}?pool=maybe")

    def test_a_number_is_a_number(self) -> None:
        assert database_from_url(f"{URL}?CONN_MAX_AGE=60")["CONN_MAX_AGE"] == 60

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql://u@%2Fvar%2Frun%2Fpg/app",
            "postgresql://u@%2fvar%2frun%2fpg:6543/app",
            "postgresql://u@/app?host=/var/run/pg",
            "postgresql://u@/app?host=%2Fvar%2Frun%2Fpg",
        ],
    )
    def test_a_socket_folder_is_decoded(self, url: str) -> None:
        database = database_from_url(url)

        assert database["HOST"] == "/var/run/pg"
        assert "host" not in database["OPTIONS"]

    def test_several_hosts_and_options_are_passed_on(self) -> None:
        database = database_from_url(
            "postgresql://u:p%23x@h1:1,h2:2/app?sslmode=require&options=-c%20geqo%3Doff"
        )

        assert (database["HOST"], database["PORT"]) == ("h1,h2", "1,2")
        assert database["PASSWORD"] == "p#x"
        assert database["OPTIONS"] == {"sslmode": "require", "options": "-c geqo=off"}

    @given(st.text(max_size=40))
    def test_anything_is_read_or_refused_in_one_line(self, text: str) -> None:
        try:
            database = database_from_url(text)
        except SettingsError as error:
            assert len(str(error).splitlines()) == 1  # noqa: PT017  (both ends are right)
        else:
            assert database["NAME"]


class TestDatabaseFromEnv:
    def test_without_a_url_it_is_the_embedded_one(self, tmp_path: Path) -> None:
        database = read({}, COMMAND, tmp_path)

        assert database["ENGINE"] == "hodei.db.embedded"
        assert database["EMBEDDED_DIRECTORY"] == str(tmp_path / "pg")
        assert Path(database["HOST"]).is_absolute()
        assert not (tmp_path / "pg").exists()

    def test_an_empty_url_is_none(self, tmp_path: Path) -> None:
        assert read({"DATABASE_URL": " "}, COMMAND, tmp_path)["ENGINE"] == "hodei.db.embedded"

    @pytest.mark.parametrize("process", [SERVING, AGENT])
    def test_serving_and_agents_have_time_limits(self, process: Process, tmp_path: Path) -> None:
        values = {"DATABASE_URL": URL, "DB_LOCK_TIMEOUT": "1.5"}

        options = read(values, process, tmp_path)["OPTIONS"]

        assert options["options"] == "-c statement_timeout=30000 -c lock_timeout=1500"
        assert options["application_name"] == f"hodei {process.name}"

    def test_commands_have_none(self, tmp_path: Path) -> None:
        options = read({"DATABASE_URL": URL, "DB_LOCK_TIMEOUT": "1"}, COMMAND, tmp_path)["OPTIONS"]

        assert options == {"application_name": "hodei migrate"}

    def test_zero_is_no_limit(self, tmp_path: Path) -> None:
        values = {"DATABASE_URL": URL, "DB_STATEMENT_TIMEOUT": "0", "DB_LOCK_TIMEOUT": "0"}

        assert "options" not in read(values, SERVING, tmp_path)["OPTIONS"]

    def test_what_the_url_says_goes_before(self, tmp_path: Path) -> None:
        values = {
            "DATABASE_URL": f"{URL}?application_name=mine&options=-c%20lock_timeout%3D1"
            "&CONN_MAX_AGE=5&CONN_HEALTH_CHECKS=0&pool=true",
            "DB_POOL_MAX": "9",
        }

        database = read(values, SERVING, tmp_path)

        assert database["OPTIONS"]["application_name"] == "mine"
        assert database["OPTIONS"]["options"].endswith("-c lock_timeout=1")
        assert database["OPTIONS"]["pool"] is True
        assert (database["CONN_MAX_AGE"], database["CONN_HEALTH_CHECKS"]) == (5, False)

    def test_only_serving_has_a_pool_and_then_no_persistent_connection(
        self, tmp_path: Path
    ) -> None:
        values = {"DATABASE_URL": URL, "DB_POOL_MAX": "8", "DB_POOL_MIN": "2"}

        serving = read(values, SERVING, tmp_path)

        assert serving["OPTIONS"]["pool"] == {"min_size": 2, "max_size": 8, "timeout": 5.0}
        assert serving["CONN_MAX_AGE"] == 0
        assert "pool" not in read(values, AGENT, tmp_path)["OPTIONS"]
        assert read({"DATABASE_URL": URL}, SERVING, tmp_path)["CONN_MAX_AGE"] == 60

    def test_a_name_is_cut_where_postgresql_cuts_it(self) -> None:
        assert len(Process("command", "x" * 100).application_name) == 63


class TestPoolOptions:
    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"DB_POOL_MAX": "many"}, "DB_POOL_MAX='many' is not a whole number"),
            ({"DB_POOL_MAX": "-1"}, "DB_POOL_MAX='-1' is not a whole number"),
            ({"DB_POOL_MAX": "2", "DB_POOL_MIN": "3"}, "DB_POOL_MIN=3 is more than DB_POOL_MAX=2"),
            ({"DB_POOL_MAX": "2", "DB_POOL_TIMEOUT": "x"}, "DB_POOL_TIMEOUT='x' is not a number"),
        ],
    )
    def test_nonsense_is_refused(self, values: dict[str, str], message: str) -> None:
        with pytest.raises(SettingsError, match=message):
            pool_options(values)

    def test_none_is_the_default(self) -> None:
        assert pool_options({}) is None


class TestRedacted:
    @given(st.text(st.characters(exclude_characters="@/", exclude_categories=["C"]), min_size=8))
    def test_the_password_is_never_shown(self, password: str) -> None:
        shown = redacted(f"postgresql://user:{password}@host/name")

        assert shown == "postgresql://user:***@host/name"

    def test_a_password_with_an_at_sign_is_not_shown_in_part(self) -> None:
        assert redacted("postgresql://u:p@ss@h/n") == "postgresql://u:***@h/n"


class TestWords:
    @pytest.mark.parametrize("word", ["2", "", "ja", "None"])
    def test_a_word_that_is_no_yes_or_no_is_refused(self, word: str) -> None:
        with pytest.raises(SettingsError, match="neither yes nor no"):
            as_bool("DEBUG", word)

    @pytest.mark.parametrize("text", ["-1", "86401", "nan", "inf", "soon", ""])
    def test_seconds_out_of_range_are_refused(self, text: str) -> None:
        with pytest.raises(SettingsError, match="from 0"):
            as_seconds("DB_LOCK_TIMEOUT", text)

    @pytest.mark.parametrize(("text", "seconds"), [("0", 0.0), ("86400", 86400.0), ("0.5", 0.5)])
    def test_seconds_within_it_are_read(self, text: str, seconds: float) -> None:
        assert as_seconds("DB_LOCK_TIMEOUT", text) == seconds


class TestProcessOf:
    @pytest.mark.parametrize(
        ("argv", "role", "name"),
        [
            (["manage.py", "runserver", "8000"], "serving", "runserver"),
            (["manage.py", "jobs_worker"], "agent", "jobs_worker"),
            (["manage.py", "--traceback", "migrate"], "command", "migrate"),
            (["manage.py"], "command", "help"),
            (["manage.py", "jobs_worker", "--help"], "command", "jobs_worker"),
            (["manage.py", "runserver", "-h"], "command", "runserver"),
        ],
    )
    def test_the_command_tells_the_role(self, argv: list[str], role: str, name: str) -> None:
        assert process_of(argv) == Process(role, name)  # type: ignore[arg-type]


def safety(**changes: Any) -> Safety:
    values = {
        "secret_key": "k" * 50,
        "debug": False,
        "embedded": False,
        "embedded_allowed": False,
        **changes,
    }
    return Safety(**values)


class TestRefuseUnsafe:
    @pytest.mark.parametrize("process", [SERVING, AGENT])
    @pytest.mark.parametrize(
        ("key", "found"), [("", "is not set"), ("change-me", "is still the example's")]
    )
    def test_a_missing_or_default_key_is_refused(
        self, process: Process, key: str, found: str
    ) -> None:
        with pytest.raises(SettingsError, match=f"SECRET_KEY {found}; {process.name}") as caught:
            refuse_unsafe(process, safety(secret_key=key, debug=True))

        assert caught.value.exit_code == 2

    @pytest.mark.parametrize("process", [SERVING, AGENT])
    def test_the_embedded_database_is_refused_in_production(self, process: Process) -> None:
        with pytest.raises(SettingsError, match="HODEI_EMBEDDED=1"):
            refuse_unsafe(process, safety(embedded=True))

    @pytest.mark.parametrize(
        "changes",
        [{"embedded": True, "embedded_allowed": True}, {"embedded": True, "debug": True}, {}],
    )
    def test_what_is_safe_passes(self, changes: dict[str, bool]) -> None:
        refuse_unsafe(SERVING, safety(**changes))

    def test_commands_need_nothing(self) -> None:
        refuse_unsafe(COMMAND, safety(secret_key="", embedded=True))
