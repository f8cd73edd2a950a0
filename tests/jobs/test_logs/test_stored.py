"""What a run has written, as it is stored, and its end while it runs."""

from __future__ import annotations

import io
import threading
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hodei.sessions import connect
from jobs import leases
from jobs.logs import keeper, store
from jobs.logs.spool import LARGEST_TAIL
from jobs.services import lifecycle, logs
from tests.jobs.conftest import Commands, program, script
from tests.jobs.kit import running
from tests.jobs.test_logs.kit import files_in, streams, use_broken
from tests.processes import eventually


class TestStored:
    def test_both_streams_with_true_size_and_lines(
        self, commands: Commands, tmp_path: Path
    ) -> None:
        job = commands.run(script("printf 'a\\nb'; printf 'c\\n' >&2"))

        assert commands.rows("SELECT job_id, size_bytes, entry_count FROM job_log_files") == [
            (job, len(commands.raw_log(job)), 3)
        ]
        assert streams(commands.raw_log(job)) == {b"INFO": b"a\nb", b"ERROR": b"c\n", b"NOTE": b""}
        (path,) = files_in(tmp_path / "logs")
        assert path.name.startswith(str(job))
        assert commands.value("SELECT count(*) FROM job_log_tails") == 0
        assert commands.value("SELECT count(*) FROM job_log_garbage") == 0

    def test_what_is_no_text_is_kept_byte_for_byte(
        self, commands: Commands, tmp_path: Path
    ) -> None:
        path = tmp_path / "data"
        path.write_bytes(bytes(range(256)) * 999)
        job = commands.run(program("cat", str(path)))

        assert streams(commands.raw_log(job))[b"INFO"] == path.read_bytes()

    def test_a_job_that_writes_nothing_has_no_file(self, commands: Commands) -> None:
        commands.run(program("true"))

        assert commands.value("SELECT count(*) FROM job_log_files") == 0
        assert commands.value("SELECT count(*) FROM job_log_garbage") == 0

    def test_another_attempt_is_appended_under_a_header(
        self, commands: Commands, tmp_path: Path
    ) -> None:
        job = commands.enqueue(script("echo mine is $HODEI_ATTEMPT; exit 1"), max_attempts=2)
        commands.drain()
        ((first, uri),) = commands.rows("SELECT id, storage_uri FROM job_log_files")
        commands.execute("UPDATE job_queue_deferred SET run_after = now()")
        commands.drain()

        assert [line.split("Z] ", 1)[1] for line in commands.log(job).splitlines()] == [
            *("[INFO] mine is 1", "[NOTE] Exit code 1."),
            *("[NOTE] Attempt 2", "[INFO] mine is 2", "[NOTE] Exit code 1."),
        ]
        assert commands.rows("SELECT id, size_bytes, entry_count FROM job_log_files") == [
            (first, len(commands.raw_log(job)), 5)
        ]
        assert commands.rows("SELECT storage_uri FROM job_log_garbage") == [(uri,)]
        logs.purge_logs()
        assert len(files_in(tmp_path / "logs")) == 1

    def test_an_attempt_whose_predecessors_log_is_gone_keeps_its_own(
        self, commands: Commands, tmp_path: Path
    ) -> None:
        job = commands.enqueue(script("echo mine is $HODEI_ATTEMPT; exit 1"), max_attempts=2)
        commands.drain()
        for path in files_in(tmp_path / "logs"):
            path.unlink()
        commands.execute("UPDATE job_queue_deferred SET run_after = now()")
        commands.drain()

        assert commands.lines(job) == ["mine is 2"]
        assert commands.value("SELECT size_bytes FROM job_log_files") == len(commands.raw_log(job))

    def test_a_storage_that_is_full_costs_the_log_alone(
        self, commands: Commands, settings: Any, tmp_path: Path
    ) -> None:
        use_broken(settings, tmp_path)
        job = commands.run(program("echo", "hello"))

        assert commands.output(job) == "hello\n"
        assert commands.value("SELECT count(*) FROM job_log_files") == 0
        assert "[INFO] hello\n" in commands.tail(job)
        assert "This log could not be stored: OSError: [Errno 28] No space" in commands.tail(job)
        assert files_in(tmp_path / "logs") == []

    @pytest.mark.parametrize(
        ("kind", "said"),
        [("Rude", "UnshownError: (it cannot be shown)"), ("Exiting", "SystemExit: 3")],
    )
    def test_whatever_a_storage_raises_costs_the_log_alone(
        self, commands: Commands, settings: Any, tmp_path: Path, kind: str, said: str
    ) -> None:
        use_broken(settings, tmp_path, kind)
        job = commands.run(program("echo", "hello"))

        assert commands.state(job) == "SUCCEEDED"
        assert f"This log could not be stored: {said}" in commands.tail(job)

    def test_a_spool_that_is_full_costs_the_log_alone(
        self, commands: Commands, settings: Any
    ) -> None:
        settings.JOBS_LOG_SPOOL = "/no/such/folder"
        job = commands.run(program("echo", "hello"))

        assert commands.output(job) == "hello\n"
        assert "[INFO] hello\n" in commands.tail(job)
        assert "could not be kept: No such file or directory." in commands.tail(job)

    def test_without_a_storage_the_log_alone_is_lost(
        self, commands: Commands, settings: Any
    ) -> None:
        settings.STORAGES = {
            name: value for name, value in settings.STORAGES.items() if name != "job_logs"
        }
        job = commands.run(program("echo", "hello"))

        assert commands.output(job) == "hello\n"
        assert "This log could not be stored: ImproperlyConfigured" in commands.tail(job)

    def test_a_lease_that_is_lost_meanwhile_leaves_the_log_to_its_owner(
        self, commands: Commands, tmp_path: Path
    ) -> None:
        job = commands.enqueue(program("true"))
        with connect("default", "test") as session:
            (claimed,) = leases.claim(session, uuid.uuid4(), ["default"], 1, starting=1)
            uri = store.new_uri(job, 1, datetime.now(UTC))
            reserved = keeper.reserve(session, [(job, uri)])[uri]
            assert reserved.before is None
            store.save(uri, io.BytesIO(b"late\n"))
            written = keeper.Written(job, claimed.epoch + 1, uri, 5, 1, 1.0, reserved.note)

            assert keeper.settle(session, [written]) == set()
            assert commands.value("SELECT count(*) FROM job_log_files") == 0
            # Until tomorrow it may still be written to; then it is garbage.
            assert logs.purge_logs().files == 0
            commands.execute("UPDATE job_log_garbage SET since = now()")
            assert logs.purge_logs().files == 1
        assert files_in(tmp_path / "logs") == []

    def test_settling_twice_is_settling_once(self, commands: Commands, tmp_path: Path) -> None:
        """The connection may be lost after the commit."""
        job = commands.enqueue(program("true"))
        with connect("default", "test") as session:
            (claimed,) = leases.claim(session, uuid.uuid4(), ["default"], 1, starting=1)
            uri = store.new_uri(job, 1, datetime.now(UTC))
            keeper.reserve(session, [(job, uri)])
            reserved = keeper.reserve(session, [(job, uri)])[uri]
            store.save(uri, io.BytesIO(b"once\n"))
            for _ in range(2):
                written = keeper.Written(job, claimed.epoch, uri, 5, 1, 1.0, reserved.note)
                assert keeper.settle(session, [written]) == {uri}

        commands.execute("UPDATE job_log_garbage SET since = now()")
        logs.purge_logs()
        assert commands.log(job) == "once\n"


class TestTail:
    @pytest.mark.usefixtures("many_renewals")
    def test_is_there_while_it_runs_and_bounded(self, commands: Commands) -> None:
        job = commands.enqueue(script("seq 1 50000; printf 50%%; sleep 600"))
        with running(commands.worker()):
            assert eventually(lambda: commands.tail(job).endswith("[INFO+] 50%\n"))
            ((size, total),) = commands.rows("SELECT length(tail), total_bytes FROM job_log_tails")
            lifecycle.cancel(job, reason="seen enough", actor="me")
            assert eventually(lambda: commands.state(job) == "CANCELLED")

        assert (size, total > 1_000_000) == (LARGEST_TAIL, True)
        assert commands.value("SELECT count(*) FROM job_log_tails") == 0
        assert streams(commands.raw_log(job))[b"INFO"].endswith(b"50000\n50%")

    def test_of_a_lost_lease_is_not_written(self, commands: Commands) -> None:
        job = commands.enqueue(program("true"))
        with connect("default", "test") as session:
            (claimed,) = leases.claim(session, uuid.uuid4(), ["default"], 1, starting=1)
            tails = [
                keeper.Tail(job, claimed.epoch, b"mine", 4),
                keeper.Tail(uuid.uuid4(), claimed.epoch, b"nobody's", 8),
            ]
            keeper.write_tails(session, tails)
            keeper.write_tails(session, [keeper.Tail(job, claimed.epoch - 1, b"late", 9)])

        assert commands.rows("SELECT tail, total_bytes FROM job_log_tails") == [(b"mine", 4)]


class TestKeeper:
    def test_a_database_that_goes_away_is_waited_for(self, commands: Commands) -> None:
        first = commands.enqueue(program("echo", "one"))
        with running(commands.worker()):
            assert eventually(lambda: commands.state(first) == "SUCCEEDED")
            commands.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name LIKE 'hodei jobs logs%'"
            )
            second = commands.enqueue(program("echo", "two"))
            assert eventually(lambda: commands.state(second) == "SUCCEEDED")

        assert commands.lines(second) == ["two"]

    def test_leaves_no_thread_and_no_process(self, commands: Commands) -> None:
        commands.run(program("echo", "hello"))

        assert not [one for one in threading.enumerate() if one.name == "jobs log keeper"]
        children = Path(f"/proc/self/task/{threading.get_native_id()}/children")
        if children.exists():
            for child in children.read_text().split():
                assert b"watcher.py" not in Path(f"/proc/{child}/cmdline").read_bytes()
