"""Workers that run commands, in processes that are killed: nothing lives on, and memory is flat."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.faults.conftest import Start
from tests.jobs.conftest import program, script
from tests.jobs.test_command.kit import FAMILY, alive
from tests.processes import eventually

pytestmark = pytest.mark.process

Session = psycopg.Connection[Any]


def put(session: Session, spec: dict[str, Any]) -> uuid.UUID:
    """Enqueue a job behind everybody's back."""
    job = uuid.uuid4()
    session.execute(
        "INSERT INTO jobs (id, spec, state, max_attempts) VALUES (%s, %s, 'PENDING', 1)",
        [job, json.dumps(spec)],
    )
    session.execute("INSERT INTO job_queue (job_id) VALUES (%s)", [job])
    return job


def state(session: Session, job: uuid.UUID) -> str:
    row = session.execute("SELECT state FROM jobs WHERE id = %s", [job]).fetchone()
    return str(row[0]) if row else ""


def tail(session: Session, job: uuid.UUID) -> str:
    row = session.execute("SELECT tail FROM job_log_tails WHERE job_id = %s", [job]).fetchone()
    return bytes(row[0]).decode() if row else ""


def family(session: Session, job: uuid.UUID) -> list[int]:
    """The processes of FAMILY, once they have said who they are."""
    assert eventually(lambda: "[INFO]" in tail(session, job))
    found = [int(word) for word in tail(session, job).split()[2:]]
    assert len(found) == 3
    assert all(map(alive, found))
    return found


def folder(path: Path) -> dict[str, str]:
    return {"HODEI_JOB_LOGS_DIR": str(path / "logs")}


Worker = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def worker(start: Start, tmp_path: Path) -> Worker:
    """A function that starts a worker whose logs go into a folder of the test."""

    def started(*words: str) -> subprocess.Popen[str]:
        variables = {**folder(tmp_path), "TMPDIR": str(tmp_path)}
        return start("jobs_worker", "--poll", "0.1", *words, variables=variables)

    return started


class TestKilled:
    def test_no_process_and_no_file_of_its_commands_lives_on(
        self, session: Session, worker: Worker, tmp_path: Path
    ) -> None:
        """Not even where its guard was killed before it: the next command has another one made."""
        job = put(session, script(FAMILY))
        process = worker()
        processes = family(session, job)
        assert list(tmp_path.glob("hodei-script-*"))
        (guard,) = guards_of(process.pid)
        os.kill(guard, signal.SIGKILL)
        second = put(session, program("true"))
        assert eventually(lambda: state(session, second) == "SUCCEEDED")
        assert eventually(lambda: bool(set(guards_of(process.pid)) - {guard}))
        assert all(map(alive, processes))

        process.send_signal(signal.SIGKILL)

        assert eventually(lambda: not any(map(alive, processes)))
        assert eventually(lambda: not list(tmp_path.glob("hodei-*")))
        # What it had written is not lost with it.
        assert str(processes[0]) in tail(session, job)


def guards_of(worker: int) -> list[int]:
    """The guards among the children of a process."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            words = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == worker and b"watcher.py" in words and alive(int(entry.name)):
            found.append(int(entry.name))
    return found


class TestStopped:
    def test_two_signals_end_them_at_once(self, session: Session, worker: Worker) -> None:
        job = put(session, script(FAMILY))
        process = worker()
        processes = family(session, job)

        process.send_signal(signal.SIGTERM)
        assert eventually(
            lambda: (
                "hodei jobs fetcher"
                not in str(
                    session.execute(
                        "SELECT array_agg(application_name) FROM pg_stat_activity "
                        "WHERE datname = current_database()"
                    ).fetchone()
                )
            )
        )
        assert all(map(alive, processes))
        process.send_signal(signal.SIGTERM)

        process.wait(30)
        assert eventually(lambda: not any(map(alive, processes)))
        assert state(session, job) == "RUNNING"


def memory(process: int, name: str = "VmHWM") -> int:
    """The most that a process has had in memory, in MiB."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found is not None
    return int(found[1]) // 1024


class TestMuchOutput:
    @pytest.mark.parametrize("size", [64 << 20, pytest.param(1 << 30, marks=pytest.mark.slow)])
    def test_without_an_end_of_line_runs_in_flat_memory(
        self,
        session: Session,
        worker: Worker,
        tmp_path: Path,
        size: int,
        record_property: Callable[[str, object], None],
    ) -> None:
        process = worker()
        first = put(session, {**program("echo", "hello"), "env": {"API_TOKEN": "hunter2hunter2"}})
        assert eventually(lambda: state(session, first) == "SUCCEEDED")
        before = memory(process.pid)

        much = {**program("head", "-c", str(size), "/dev/zero"), "env": {"API_TOKEN": "0" * 40}}
        job = put(session, much)

        assert eventually(lambda: state(session, job) == "SUCCEEDED", 240)
        after = memory(process.pid)
        record_property("MiB", (before, after))
        assert after - before < 16, f"{before} MiB before, {after} MiB at most"
        row = session.execute(
            "SELECT storage_uri, size_bytes, entry_count FROM job_log_files WHERE job_id = %s",
            [job],
        ).fetchone()
        assert row is not None
        path = tmp_path / "logs" / row[0].removeprefix("storage://job_logs/")
        assert path.stat().st_size == row[1]
        lines = zeros = 0
        with path.open("rb") as file:
            for line in file:
                lines += 1
                zeros += line.count(0)
        assert (zeros, lines) == (size, row[2])


class TestFullDisk:
    def test_of_the_logs_costs_their_files_and_nothing_else(
        self, session: Session, start: Start, tmp_path: Path
    ) -> None:
        """The job ends as it would have, once, and its log says that it is not whole."""
        full = tmp_path / "full"
        full.touch()
        storages = {
            "job_logs": {
                "BACKEND": "tests.faults.storages.Disk",
                "OPTIONS": {"location": str(tmp_path / "logs")},
            }
        }
        variables = {"FAULTS_SETTINGS": json.dumps({"STORAGES": storages})}
        start("jobs_worker", "--poll", "0.1", variables=variables)
        good = [put(session, program("echo", f"hello {n}")) for n in range(5)]
        bad = put(session, script("echo about to fail; exit 3"))

        def ended() -> bool:
            return all(state(session, job) in {"SUCCEEDED", "FAILED"} for job in (*good, bad))

        assert eventually(ended)
        assert [state(session, job) for job in good] == ["SUCCEEDED"] * 5
        assert session.execute(
            "SELECT state, result #>> '{Failed,exit_code}' FROM jobs WHERE id = %s", [bad]
        ).fetchone() == ("FAILED", "3")
        for job in (*good, bad):
            assert "This log could not be stored: OSError: [Errno 28]" in tail(session, job)
        assert "hello 3" in tail(session, good[3])
        assert len(full.read_text().splitlines()) == 6
        assert not [path for path in (tmp_path / "logs").rglob("*") if path.is_file()]

        full.unlink()
        later = put(session, program("echo", "there is room"))
        assert eventually(lambda: state(session, later) == "SUCCEEDED")
        assert session.execute("SELECT job_id FROM job_log_files").fetchall() == [(later,)]


class TestFollowed:
    def test_until_the_end_of_a_command_whose_worker_was_told_to_stop(
        self, session: Session, worker: Worker, start: Start, tmp_path: Path
    ) -> None:
        waiting = "echo began; while [ ! -e go ]; do sleep 0.05; done; echo done"
        job = put(session, {**script(waiting), "working_dir": str(tmp_path)})
        process = worker()
        logs = start("jobs_logs", str(job), "--follow", variables=folder(tmp_path))
        assert logs.stdout is not None
        assert logs.stdout.readline().endswith("[INFO] began\n")

        # As Ctrl-C does, to all of the group: commands are not in it.
        process.send_signal(signal.SIGINT)
        (tmp_path / "go").touch()

        assert logs.stdout.readline().endswith("[INFO] done\n")
        assert logs.wait(30) == 0
        assert process.wait(30) == 0
        assert state(session, job) == "SUCCEEDED"

    def test_a_reader_that_has_seen_enough_is_no_error(
        self, session: Session, start: Start, tmp_path: Path
    ) -> None:
        job = put(session, program("true"))
        (tmp_path / "logs").mkdir()
        (tmp_path / "logs" / "large.log").write_bytes(b"a line\n" * 100_000)
        session.execute(
            "INSERT INTO job_log_files (job_id, storage_uri, size_bytes, expires_at) "
            "VALUES (%s, 'storage://job_logs/large.log', 700000, now())",
            [job],
        )
        logs = start("jobs_logs", str(job), variables=folder(tmp_path))
        assert logs.stdout is not None
        assert logs.stderr is not None
        logs.stdout.readline()
        logs.stdout.close()

        assert logs.wait(30) == 0
        assert "Traceback" not in logs.stderr.read()
