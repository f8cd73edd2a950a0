"""The command ``jobs_logs``."""

from __future__ import annotations

import threading
import uuid
from pathlib import Path

import pytest
from django.core.management import CommandError

from jobs.management.commands import jobs_logs
from tests.jobs.conftest import Commands, program, script
from tests.jobs.kit import running
from tests.jobs.test_logs.kit import files_in, follow, printed


class TestCommand:
    def test_prints_the_file(self, commands: Commands) -> None:
        job = commands.run(program("echo", "hello"))

        assert printed(job) == (commands.log(job), "")

    def test_says_that_nothing_was_written(self, commands: Commands) -> None:
        job = commands.run(program("true"))

        assert printed(job, "--follow") == (
            "",
            f"Job {job} is SUCCEEDED and has written nothing.\n",
        )

    def test_follows_until_the_end_and_prints_everything_once(self, commands: Commands) -> None:
        job = commands.enqueue(script("for n in 1 2 3; do echo $n; sleep 0.3; done"))
        found: list[tuple[str, str]] = []
        with running(commands.worker()):
            follower = threading.Thread(target=lambda: found.append(follow(job)))
            follower.start()
            follower.join(30)
        ((text, errors),) = found

        assert (text, errors) == (commands.log(job), "")

    def test_follows_from_a_lost_run_into_the_next_one(
        self, commands: Commands, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What the lost one had written is in no file: the next one begins where the file ends."""
        job = commands.enqueue(program("true"))
        tail = (
            "INSERT INTO job_log_tails (job_id, tail, total_bytes, updated_at) "
            "VALUES (%s, %s, %s, clock_timestamp()) ON CONFLICT (job_id) DO UPDATE "
            "SET tail = excluded.tail, total_bytes = excluded.total_bytes, "
            "updated_at = excluded.updated_at"
        )
        lost = "UPDATE jobs SET state = 'PENDING', lost_leases = 1"
        steps = iter(
            [
                lambda: commands.execute(lost),
                lambda: commands.execute(tail, [job, b"2\n", 2]),
                lambda: commands.execute(tail, [job, b"2\n2\n2\n", 6]),
                lambda: commands.execute("UPDATE jobs SET state = 'SUCCEEDED'"),
            ]
        )
        monkeypatch.setattr(jobs_logs.time, "sleep", lambda _: next(steps)())
        commands.execute("UPDATE jobs SET state = 'RUNNING'")
        commands.execute(tail, [job, b"1\n1\n", 4])

        assert printed(job, "--follow") == (
            "1\n1\n2\n2\n2\n",
            "The run was lost with its worker; the next one follows.\n",
        )

    def test_says_what_it_could_not_see(self, commands: Commands) -> None:
        job = commands.enqueue(program("true"))
        commands.execute(
            "INSERT INTO job_log_tails (job_id, tail, total_bytes) VALUES (%s, 'end', 1003)", [job]
        )

        text, errors = printed(job)
        assert (text, errors.split(" ", 1)[0]) == ("end", "1,000")

    def test_a_tail_without_a_file_is_shown(self, commands: Commands) -> None:
        """Of a worker that was killed."""
        job = commands.enqueue(program("true"))
        commands.execute(
            "INSERT INTO job_log_tails (job_id, tail, total_bytes) VALUES (%s, 'last\n', 5)", [job]
        )

        assert printed(job) == ("last\n", "")

    def test_a_job_that_is_not_there(self, commands: Commands) -> None:
        with pytest.raises(CommandError) as refused:
            printed(uuid.uuid4())
        assert refused.value.returncode == 1

    def test_a_file_that_is_gone(self, commands: Commands, tmp_path: Path) -> None:
        job = commands.run(program("echo", "hello"))
        for path in files_in(tmp_path / "logs"):
            path.unlink()

        with pytest.raises(
            CommandError, match=r"storage://job_logs/.*: there is no such"
        ) as refused:
            printed(job)
        assert refused.value.returncode == 3

    def test_help_says_what_a_newcomer_needs(self) -> None:
        from jobs.management.commands.jobs_logs import Command

        text = Command().create_parser("manage.py", "jobs_logs").format_help()
        for words in (
            "log file",
            "64 KiB",
            "masked",
            "Exit codes: 0 printed",
            "until the job has ended",
        ):
            assert words in " ".join(text.split())
