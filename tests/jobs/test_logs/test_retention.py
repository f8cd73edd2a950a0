"""How long logs are kept, and how they go."""

from __future__ import annotations

import threading
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError

from jobs.services import lifecycle, logs
from jobs.services.retention import prune
from tests.jobs.conftest import Commands, program
from tests.jobs.test_logs.kit import a_log, files_in, printed


class TestRetention:
    @pytest.mark.parametrize(
        ("metadata", "hours"),
        [
            ({}, 168),
            ({"log_ttl_hours": 2}, 2),
            ({"log_ttl_hours": "soon"}, 168),
            ({"log_ttl_hours": -1}, 168),
        ],
    )
    def test_defect_3_9_the_time_is_the_jobs_own(
        self, commands: Commands, metadata: Any, hours: float
    ) -> None:
        a_log(commands, metadata=metadata)

        left = commands.value("SELECT expires_at - now() FROM job_log_files")
        assert timedelta(hours=hours, minutes=-1) < left <= timedelta(hours=hours)

    def test_the_setting_is_the_default(self, commands: Commands, settings: Any) -> None:
        settings.JOBS_LOG_TTL_HOURS = 1
        a_log(commands)

        assert commands.value("SELECT expires_at < now() + interval '2 h' FROM job_log_files")

    def test_defect_3_9_a_purge_takes_rows_and_their_files(
        self, commands: Commands, tmp_path: Path
    ) -> None:
        kept = a_log(commands)
        gone = a_log(commands, expired=True)
        before = files_in(tmp_path / "logs")

        dry = logs.purge_logs(dry_run=True)
        assert (dry, files_in(tmp_path / "logs")) == (
            logs.Purged(expired=1, files=1, left=0),
            before,
        )
        assert logs.purge_logs() == logs.Purged(expired=1, files=1, left=0)

        assert commands.rows("SELECT job_id FROM job_log_files") == [(kept,)]
        assert [path.name.startswith(str(kept)) for path in files_in(tmp_path / "logs")] == [True]
        with pytest.raises(logs.LogNotFound):
            logs.read(gone)

    def test_a_crash_between_row_and_file_orphans_nothing(
        self, commands: Commands, tmp_path: Path
    ) -> None:
        a_log(commands)
        commands.execute("DELETE FROM job_log_files")

        assert len(files_in(tmp_path / "logs")) == 1
        assert logs.purge_logs().files == 1
        assert files_in(tmp_path / "logs") == []
        assert commands.value("SELECT count(*) FROM job_log_garbage") == 0

    def test_a_crash_between_file_and_note_is_fine(
        self, commands: Commands, tmp_path: Path
    ) -> None:
        a_log(commands, expired=True)
        for path in files_in(tmp_path / "logs"):
            path.unlink()

        assert logs.purge_logs() == logs.Purged(expired=1, files=1, left=0)

    def test_deleting_a_job_takes_its_file_along(self, commands: Commands, tmp_path: Path) -> None:
        job = a_log(commands)
        lifecycle.delete(job, reason="no more", actor="me")

        logs.purge_logs()
        assert files_in(tmp_path / "logs") == []

    def test_a_file_that_cannot_be_deleted_is_left_and_keeps_none_from_going(
        self, commands: Commands, tmp_path: Path
    ) -> None:
        a_log(commands, expired=True)
        commands.execute("INSERT INTO job_log_garbage (storage_uri) VALUES ('s3://elsewhere/a')")

        assert logs.purge_logs() == logs.Purged(expired=1, files=1, left=1)
        assert files_in(tmp_path / "logs") == []
        assert commands.rows("SELECT storage_uri FROM job_log_garbage") == [("s3://elsewhere/a",)]

    def test_many_that_cannot_be_deleted_keep_none_from_going(
        self, commands: Commands, tmp_path: Path
    ) -> None:
        """However many there are: an adopted database may have thousands, in folders of its own."""
        commands.execute(
            "INSERT INTO job_log_garbage (storage_uri) "
            "SELECT 'file:///elsewhere/' || n FROM generate_series(1, 3) AS s (n)"
        )
        a_log(commands, expired=True)

        assert logs.purge_logs(limit=3) == logs.Purged(expired=1, files=0, left=3)
        assert logs.purge_logs(limit=3) == logs.Purged(expired=0, files=1, left=2)
        assert files_in(tmp_path / "logs") == []
        # Each once, also where there is room for more.
        assert logs.purge_logs() == logs.Purged(expired=0, files=0, left=3)

    def test_a_note_of_a_file_that_is_in_use_deletes_nothing(self, commands: Commands) -> None:
        job = a_log(commands)
        commands.execute(
            "INSERT INTO job_log_garbage (storage_uri) SELECT storage_uri FROM job_log_files"
        )

        logs.purge_logs()
        assert commands.value("SELECT count(*) FROM job_log_garbage") == 0
        assert commands.lines(job) == ["hello"]

    def test_goes_in_bounded_batches(self, commands: Commands) -> None:
        job = a_log(commands)
        commands.execute(
            "INSERT INTO job_log_garbage (storage_uri) "
            "SELECT 'storage://job_logs/none/' || n FROM generate_series(1, 1200) AS s (n)"
        )

        assert logs.purge_logs(limit=700).files == 700
        assert logs.purge_logs().files == 500
        assert commands.lines(job) == ["hello"]

    def test_two_at_once_share_the_work(self, commands: Commands, tmp_path: Path) -> None:
        from django.db import connections

        for _ in range(3):
            a_log(commands, expired=True)
        barrier = threading.Barrier(2)
        done: list[logs.Purged] = []

        def purge() -> None:
            try:
                barrier.wait(30)
                done.append(logs.purge_logs())
            finally:
                connections.close_all()

        threads = [threading.Thread(target=purge) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)

        assert sum(one.expired for one in done) == 3
        assert files_in(tmp_path / "logs") == []
        logs.purge_logs()
        assert commands.value("SELECT count(*) FROM job_log_garbage") == 0

    def test_old_tails_of_runs_that_are_no_more_go(self, commands: Commands) -> None:
        old, new = commands.enqueue(program("true")), commands.enqueue(program("true"))
        commands.execute(
            "INSERT INTO job_log_tails (job_id, tail, total_bytes, updated_at) VALUES "
            "(%s, 'x', 1, now() - interval '169 h'), (%s, 'x', 1, now())",
            [old, new],
        )

        logs.purge_logs()
        assert commands.rows("SELECT job_id FROM job_log_tails") == [(new,)]

    def test_old_tails_go_however_many(
        self, commands: Commands, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(logs, "BATCH", 2)
        for _ in range(5):
            commands.enqueue(program("true"))
        commands.execute(
            "INSERT INTO job_log_tails (job_id, tail, total_bytes, updated_at) "
            "SELECT id, 'x', 1, now() - interval '169 h' FROM jobs"
        )

        logs.purge_logs()
        assert commands.value("SELECT count(*) FROM job_log_tails") == 0

    def test_defect_3_9_the_total_of_sizes_is_a_number(self, commands: Commands) -> None:
        """A sum of bigint is numeric, which the original could not read."""
        assert logs.total_size() == 0
        a_log(commands)
        commands.execute("UPDATE job_log_files SET size_bytes = 9223372036854775807")
        a_log(commands)
        assert logs.total_size() > 2**63 - 1

    def test_defect_3_9_a_log_can_be_kept(self, commands: Commands) -> None:
        job = a_log(commands, expired=True)
        until = datetime(2099, 1, 1, tzinfo=UTC)
        logs.keep(job, until=until, reason="case 12", actor="legal")

        assert logs.purge_logs().expired == 0
        assert commands.rows("SELECT event_type, actor, payload->>'reason' FROM audit_logs") == [
            ("JobLogKept", "legal", "case 12")
        ]
        with pytest.raises(logs.LogDateInvalid):
            logs.keep(job, until=datetime(2099, 1, 1), reason="x", actor="me")  # noqa: DTZ001
        with pytest.raises(logs.LogNotFound):
            logs.keep(uuid.uuid4(), until=until, reason="x", actor="me")

    @pytest.mark.parametrize("how", ["kept", "its own time"])
    def test_defect_3_9_a_job_stays_with_its_log(self, commands: Commands, how: str) -> None:
        """Where somebody wants that log for longer than jobs are kept."""
        own, other = a_log(commands, metadata={"log_ttl_hours": 9_999}), a_log(commands)
        job, gone = (own, other) if how == "its own time" else (other, own)
        if how == "kept":
            logs.keep(job, until=datetime(2099, 1, 1, tzinfo=UTC), reason="x", actor="legal")
            commands.execute("UPDATE jobs SET metadata = '{}' WHERE id = %s", [gone])
        commands.execute(
            "UPDATE jobs SET created_at = now() - interval '8 days', "
            "completed_at = now() - interval '8 days'"
        )

        assert next(iter(prune())).rows == 1
        assert commands.rows("SELECT id FROM jobs") == [(job,)]
        assert commands.lines(job) == ["hello"]
        commands.execute("UPDATE job_log_files SET expires_at = now()")
        assert next(iter(prune())).rows == 1

    def test_defect_3_9_a_log_of_no_job_is_an_error(self, commands: Commands) -> None:
        """The original wrote it for the nil UUID, and only a line in its own log told."""
        with pytest.raises(CommandError, match="'nonsense' is no id of a job") as refused:
            printed("nonsense")
        assert refused.value.returncode in {1, 2}
        with pytest.raises(logs.JobNotFound):
            logs.look(uuid.UUID(int=0))

    def test_one_can_be_deleted_at_once(self, commands: Commands, tmp_path: Path) -> None:
        job = a_log(commands)
        logs.delete(job, reason="personal data", actor="me")

        logs.purge_logs()
        assert files_in(tmp_path / "logs") == []
        assert commands.value("SELECT count(*) FROM audit_logs WHERE event_type = 'JobLogDeleted'")
        with pytest.raises(logs.LogNotFound):
            logs.delete(job, reason="again", actor="me")


def test_indices_of_purge_are_used(commands: Commands) -> None:
    commands.execute(
        "INSERT INTO jobs (id, spec, state) SELECT gen_random_uuid(), '{}', 'SUCCEEDED' "
        "FROM generate_series(1, 5000)"
    )
    commands.execute(
        "INSERT INTO job_log_files (job_id, storage_uri, expires_at) "
        "SELECT id, 'storage://job_logs/' || id, now() + interval '1 day' FROM jobs"
    )
    commands.execute("ANALYZE job_log_files")

    plan = "\n".join(row[0] for row in commands.rows(f"EXPLAIN {logs._EXPIRE}", {"number": 500}))
    assert "idx_job_log_files_expires_at" in plan
    commands.execute("INSERT INTO job_log_garbage (storage_uri) VALUES ('storage://job_logs/x')")
    plan = "\n".join(
        row[0]
        for row in commands.rows(
            f"EXPLAIN {logs._GARBAGE}", {"last": 0, "end": logs._NO_END, "number": 500}
        )
    )
    assert "idx_job_log_files_storage_uri" in plan
