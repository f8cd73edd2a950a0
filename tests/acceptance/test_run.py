"""What a new user does: start it, look at it, stop it, start it again."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from hodei import run
from tests.databases import Migrated, alias_of, new_database
from tests.folders import open_folder
from tests.processes import ROOT, environment, eventually

pytestmark = pytest.mark.process


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def answers(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/admin/login/")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


@contextmanager
def running(port: int, output: Path, **values: str) -> Iterator[subprocess.Popen[bytes]]:
    """``python -m hodei.run`` in a process group of its own, as a terminal would have it."""
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "hodei.run", "--port", str(port)],
            cwd=ROOT,
            env=environment(DEBUG="1", SECRET_KEY="k" * 60, **values),
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def embedded(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hodei.embedded", command],
        cwd=ROOT,
        env=environment(HODEI_EMBEDDED_DIR=str(folder)),
        capture_output=True,
        text=True,
        check=False,
    )


def press_ctrl_c(process: subprocess.Popen[bytes]) -> None:
    """As a terminal does: for the whole group."""
    os.killpg(process.pid, signal.SIGINT)


def started_and_stopped(
    folder: Path, output: Path, stop: Callable[[subprocess.Popen[bytes]], None]
) -> str:
    """Run it until the admin answers and then have it stop; returns what it said."""
    port = free_port()
    with running(port, output, HODEI_EMBEDDED_DIR=str(folder)) as process:
        assert eventually(lambda: answers(port), 120), output.read_text()
        assert eventually(lambda: "stop with Ctrl-C" in output.read_text())
        stop(process)
        assert process.wait(timeout=60) == 0, output.read_text()
    assert not answers(port)
    assert embedded("status", folder).returncode == 1
    return output.read_text()


def test_from_nothing_to_the_admin_and_again(tmp_path: Path) -> None:
    """Ctrl-C ends it, and so does SIGTERM."""
    with open_folder() as folder:
        place = folder / "pg"
        told = started_and_stopped(place, tmp_path / "first", press_ctrl_c)
        again = started_and_stopped(place, tmp_path / "second", subprocess.Popen.terminate)

    assert re.search(r"Admin user: admin, password: \S{16} ", told)
    assert "Applying jobs.0001_baseline... OK" in told
    assert re.search(r"Sample of \d+ rows loaded", told)
    assert "password" not in again
    assert "No migrations to apply." in again
    assert "Sample of" not in again
    for text in (told, again):
        assert re.search(r"Schema valid: (\d+)/\1 migrations applied", text)
        assert re.search(r"Open http://127.0.0.1:\d+/admin/ and stop with Ctrl-C", text)
        assert text.count("using the embedded PostgreSQL") == 1
        assert "Traceback" not in text


@pytest.mark.parametrize("port", ["0", "-1", "65536", "9" * 5000, "http"])
def test_a_port_that_is_none_is_misuse(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run.main([f"--port={port}"])

    assert ended.value.code == 2
    assert "is no port; give 1 to 65535." in capsys.readouterr().err


def test_a_port_that_is_taken_is_said_before_anything_is_done(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with running(port, tmp_path / "output", HODEI_EMBEDDED_DIR=str(tmp_path / "pg")) as process:
            assert process.wait(timeout=60) == 2

    assert (tmp_path / "output").read_text() == (
        f"hodei: port {port} on 127.0.0.1 is taken. Stop what uses it, or choose another: "
        f"make run PORT={port + 1}\n"
    )
    assert not (tmp_path / "pg").exists()


@pytest.mark.parametrize(("sample", "loaded"), [("", False), ("1", True)])
def test_a_database_of_ones_own_gets_the_sample_only_where_it_is_asked_for(
    tmp_path: Path,
    django_db_setup: dict[str, Any],
    django_db_blocker: Any,
    sample: str,
    loaded: bool,
) -> None:
    with django_db_blocker.unblock(), new_database(django_db_setup["NAME"]) as database:
        url = (
            f"postgresql://{database['USER']}:{database['PASSWORD']}@/{database['NAME']}"
            f"?host={database['HOST']}&port={database['PORT']}"
        )
        port, output = free_port(), tmp_path / "output"
        with running(port, output, DATABASE_URL=url, SAMPLE=sample) as process:
            assert eventually(lambda: answers(port), 120), output.read_text()
            press_ctrl_c(process)
            assert process.wait(timeout=60) == 0
        with alias_of(database) as alias:
            jobs = Migrated(alias).value("SELECT count(*) FROM jobs")
            users = Migrated(alias).value("SELECT count(*) FROM auth_user WHERE is_superuser")

    assert (jobs > 0) is loaded
    assert users == 1


def test_outside_of_a_checkout_nothing_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "MANAGE", tmp_path / "manage.py")

    assert run.main([]) == 2

    said = capsys.readouterr().err
    assert said == (
        f"hodei: there is no {tmp_path / 'manage.py'}: this runs a checkout of Hodei, not an "
        "installed one. In a project of yours use its own manage.py.\n"
    )


def test_a_database_that_is_not_there_ends_it_with_one_line(tmp_path: Path) -> None:
    output = tmp_path / "output"
    with running(free_port(), output, DATABASE_URL="postgresql://u@127.0.0.1:1/n") as process:
        assert process.wait(timeout=60) == 3

    assert len(output.read_text().splitlines()) == 1


class TestInstall:
    @pytest.fixture
    def install(self) -> Any:
        path = ROOT / "scripts" / "install.py"
        spec = importlib.util.spec_from_file_location("install", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def test_the_settings_are_for_development_and_for_nobody_else(
        self, install: Any, tmp_path: Path
    ) -> None:
        install.write_env(tmp_path / ".env")

        text = (tmp_path / ".env").read_text()
        assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
        assert "\nDEBUG=1\n" in text
        assert re.search(r"^SECRET_KEY=\S{50,}$", text, flags=re.MULTILINE)

    def test_settings_that_are_there_stay(self, install: Any, tmp_path: Path) -> None:
        (tmp_path / ".env").write_text("DEBUG=0\n")

        install.write_env(tmp_path / ".env")

        assert (tmp_path / ".env").read_text() == "DEBUG=0\n"

    @pytest.mark.slow
    def test_what_it_installs_is_enough_for_the_sample(self, install: Any, tmp_path: Path) -> None:
        venv = tmp_path / "venv"
        install.make_environment(venv)
        install.install(venv, dev=False)

        done = subprocess.run(
            [
                venv / "bin" / "python",
                "-c",
                "import django; django.setup(); import hodei.sample.tasks",
            ],
            cwd=ROOT,
            env={"DJANGO_SETTINGS_MODULE": "hodei.settings", "SECRET_KEY": "x", "DEBUG": "1"},
            capture_output=True,
            text=True,
            check=False,
        )

        assert done.returncode == 0, done.stderr
