"""What an operator sees when a setting or the database is not as it should be."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from typing import Any

import pytest
from django.db import connections

from tests.databases import Migrated, alias_of, new_database
from tests.processes import ROOT, environment, manage
from tests.schema.wire import fake_server, refusal, welcome

pytestmark = pytest.mark.process
KEY = "k" * 60


def one_line(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line on stderr that such an end has, and no more."""
    assert done.returncode == code, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return lines[0]


def url_of(database: dict[str, Any]) -> str:
    return (
        f"postgresql://{database['USER']}:{database['PASSWORD']}@/{database['NAME']}"
        f"?host={database['HOST']}&port={database['PORT']}"
    )


@pytest.fixture(scope="module")
def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def each_command(first: str) -> pytest.MarkDecorator:
    """Every command fails in every way in the long run; in the short one each does, in some."""
    return pytest.mark.parametrize(
        "command",
        [
            pytest.param([name], id=name, marks=[] if name == first else pytest.mark.slow)
            for name in ("migrate", "schema_status", "showmigrations")
        ],
    )


class TestWrongDatabaseURL:
    @pytest.mark.parametrize("command", [["migrate"], ["schema_status"]])
    def test_a_bad_scheme(self, command: list[str]) -> None:
        said = one_line(manage(*command, DATABASE_URL="mysql://u:secret@h/n"), 3)

        assert "the scheme 'mysql'" in said
        assert "postgresql://USER:PASSWORD@HOST:PORT/NAME" in said
        assert "secret" not in said

    @each_command("migrate")
    def test_no_such_host(self, command: list[str]) -> None:
        url = "postgresql://u:secret@no-such-host.invalid/n"

        said = one_line(manage(*command, DATABASE_URL=url), 3)

        assert "no-such-host.invalid" in said
        assert "secret" not in said

    @each_command("schema_status")
    def test_a_port_where_nobody_listens(self, command: list[str], closed_port: int) -> None:
        url = f"postgresql://u@127.0.0.1:{closed_port}/n"

        said = one_line(manage(*command, DATABASE_URL=url), 3)

        assert f"127.0.0.1:{closed_port}" in said

    @each_command("showmigrations")
    def test_a_wrong_password(self, command: list[str]) -> None:
        answer = refusal("28P01", 'password authentication failed for user "u"')
        with fake_server(answer, asks_password=True) as port:
            url = f"postgresql://u:secret@127.0.0.1:{port}/n?sslmode=disable"
            said = one_line(manage(*command, DATABASE_URL=url), 3)

        assert "password" in said
        assert "secret" not in said

    @each_command("migrate")
    def test_a_server_that_is_too_old(self, command: list[str]) -> None:
        with fake_server(welcome("13.4")) as port:
            url = f"postgresql://u@127.0.0.1:{port}/n?sslmode=disable"
            said = one_line(manage(*command, DATABASE_URL=url), 3)

        assert "13" in said
        assert "15" in said or "14" in said

    @each_command("schema_status")
    def test_no_such_database(self, command: list[str], django_db_blocker: Any) -> None:
        with django_db_blocker.unblock(), connections["default"]._nodb_cursor() as cursor:
            info = cursor.db.connection.info
            url = (
                f"postgresql://{info.user}:{info.password}@/no_such_database"
                f"?host={info.host}&port={info.port}"
            )

        said = one_line(manage(*command, DATABASE_URL=url), 3)

        assert "no_such_database" in said


AGENTS = (["jobs_worker", "--drain"], ["outbox_relay", "--once"], ["sagas_runner", "--drain"])
READERS = (["jobs_stats"], ["outbox_stats"], ["sagas_list"], ["jobs_prune"], ["outbox_prune"])


#: Runs commands one after the other, as manage.py would each, and tells how they ended.
SEVERAL = """
import contextlib, io, json, sys
from hodei.cli import main
told = []
for words in json.loads(sys.argv[1]):
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            code = main(["manage.py", *words])
        except SystemExit as end:
            code = end.code
    told.append((code, said.getvalue()))
json.dump(told, sys.stdout)
"""


class TestWithoutMigrations:
    def test_every_app_says_the_same(self, django_db_blocker: Any) -> None:
        commands = (*READERS, *AGENTS)
        with django_db_blocker.unblock(), new_database() as database:
            done = subprocess.run(
                [sys.executable, "-c", SEVERAL, json.dumps(commands)],
                cwd=ROOT,
                env=environment(DATABASE_URL=url_of(database), SECRET_KEY=KEY),
                capture_output=True,
                text=True,
                check=False,
            )

        assert "Traceback" not in done.stderr
        told = json.loads(done.stdout)
        assert len(told) == len(commands)
        for code, said in told:
            assert code == 3, said
            assert "Traceback" not in said
            assert said.splitlines()[-1].endswith(
                "does not exist. Run manage.py migrate; schema_status lists what is pending."
            ), said


class TestReaderThatLeaves:
    """``schema_plan | head``: whoever has read enough is no error of ours."""

    def test_nothing_is_said_about_it(self, django_db_blocker: Any) -> None:
        with django_db_blocker.unblock(), new_database() as database:
            process = subprocess.Popen(
                [sys.executable, "manage.py", "schema_plan", "outbox"],
                cwd=ROOT,
                env=environment(DATABASE_URL=url_of(database)),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # Smaller than what it prints.
                pipesize=4096,
                text=True,
            )
            assert process.stdout is not None
            process.stdout.readline()
            process.stdout.close()
            _, errors = process.communicate(timeout=120)

        assert (process.returncode, errors) == (141, "")


class TestHelp:
    @pytest.mark.parametrize(
        "command",
        [
            "jobs_worker",
            *(
                pytest.param(one, marks=pytest.mark.slow)
                for one in ("outbox_relay", "sagas_runner")
            ),
        ],
    )
    def test_whoever_reads_needs_no_key(self, command: str) -> None:
        done = manage(command, "--help")

        assert (done.returncode, done.stderr) == (0, "")
        assert "Exit codes: 0 fine" in done.stdout

    def test_of_the_demo_shows_no_demo(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "hodei.demo", "--help"],
            cwd=ROOT,
            env=environment(DATABASE_URL="postgresql://u@127.0.0.1:1/n"),
            capture_output=True,
            text=True,
            check=False,
        )

        assert (done.returncode, done.stderr) == (0, "")
        assert "Exit codes: 0 it did" in done.stdout


class TestSettings:
    def test_serving_without_a_key_is_refused_before_anything_starts(self) -> None:
        said = one_line(manage("runserver", "0", DEBUG="1"), 2)

        assert said.startswith("hodei: SECRET_KEY is not set; runserver does not start")

    def test_serving_on_the_embedded_database_in_production_is_refused(self) -> None:
        said = one_line(manage("runserver", "0", SECRET_KEY=KEY), 2)

        assert "HODEI_EMBEDDED=1" in said

    def test_a_word_that_is_no_yes_or_no(self) -> None:
        said = one_line(manage("check", DEBUG="perhaps"), 2)

        assert said.startswith("hodei: DEBUG='perhaps' is neither yes nor no")

    @pytest.mark.parametrize("module", ["hodei.wsgi", "hodei.asgi"])
    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ({"DEBUG": "1"}, "SECRET_KEY is not set"),
            ({"SECRET_KEY": "change-me", "DEBUG": "1"}, "SECRET_KEY is still the example's"),
            ({"SECRET_KEY": KEY}, "does not run on the embedded PostgreSQL in production"),
        ],
    )
    def test_an_application_server_is_refused_the_same(
        self, module: str, values: dict[str, str], expected: str
    ) -> None:
        done = self.load(module, **values)

        assert done.returncode != 0
        assert expected in done.stderr.splitlines()[-1]

    @pytest.mark.parametrize("module", ["hodei.wsgi", "hodei.asgi"])
    def test_an_application_server_with_safe_settings_loads_and_has_limits(
        self, module: str
    ) -> None:
        done = self.load(module, SECRET_KEY=KEY, DATABASE_URL="postgresql://u@h/n")

        assert done.returncode == 0, done.stderr
        options = json.loads(done.stdout)
        assert options["application_name"] == f"hodei {module.removeprefix('hodei.')}"
        assert "statement_timeout=30000" in options["options"]

    def load(self, module: str, **values: str) -> subprocess.CompletedProcess[str]:
        code = (
            f"import json, {module}; from django.conf import settings; "
            "print(json.dumps(settings.DATABASES['default']['OPTIONS']))"
        )
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            cwd=ROOT,
            env=environment(**values),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def test_production_settings_are_clean(self) -> None:
        done = manage(
            *("check", "--deploy", "--fail-level", "WARNING"),
            SECRET_KEY="a-long-key-of-many-different-characters-0123456789-xyz",
            DATABASE_URL="postgresql://u@h/n",
            ALLOWED_HOSTS="jobs.example.com",
        )

        assert done.returncode == 0, done.stderr
        assert "no issues" in done.stdout


class TestWayBack:
    def test_a_refusal_is_told_without_a_traceback(self, django_db_blocker: Any) -> None:
        with django_db_blocker.unblock(), new_database() as database:
            with alias_of(database) as alias:
                migrated = Migrated(alias)
                migrated.migrate("outbox")
                migrated.insert(
                    "outbox_events",
                    aggregate_id="00000000-0000-0000-0000-000000000001",
                    aggregate_type="ORDER",
                    event_type="OrderPlaced",
                    payload={},
                )
            back = ("migrate", "outbox", "0001")
            refused = manage(*back, DATABASE_URL=url_of(database))
            allowed = manage(*back, DATABASE_URL=url_of(database), HODEI_ALLOW_DATA_LOSS="1")

        assert refused.returncode == 1
        assert "Traceback" not in refused.stderr
        assert "outbox_events: 1 (aggregate types that only head knows)" in refused.stderr
        assert allowed.returncode == 0, allowed.stderr


def test_ctrl_c_while_django_is_loaded_is_no_traceback() -> None:
    code = (
        "import signal, sys; from hodei import cli, env;"
        "env.declare = lambda process: signal.raise_signal(signal.SIGINT);"
        "sys.exit(cli.main(['manage.py', 'jobs_list']))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert one_line(done, 130) == "hodei: interrupted"
