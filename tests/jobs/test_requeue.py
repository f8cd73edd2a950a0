"""jobs_requeue and jobs_stats."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.backends.utils import CursorWrapper

from hodei.sessions import connect
from jobs.services import requeue as requeues
from jobs.services.requeue import RequeueFilter, count, requeue
from jobs.states import FailureKind, JobState
from tests.jobs.conftest import Jobs

WHO: dict[str, Any] = {"reason": "it is back", "actor": "me"}


def failed(jobs: Jobs, n: int = 0, *, state: str = "FAILED", **options: Any) -> uuid.UUID:
    kinds, hours = options.pop("kinds", ["Unknown"]), options.pop("hours", 0)
    job = jobs.enqueue(n, **options)
    jobs.execute("DELETE FROM job_queue WHERE job_id = %s", [job])
    jobs.execute(
        "UPDATE jobs SET state = %s, attempts = 3, lost_leases = 2, error_message = 'no', "
        "completed_at = clock_timestamp() - %s * interval '1 hour' WHERE id = %s",
        [state, hours, job],
    )
    for number, kind in enumerate(kinds):
        jobs.execute(
            "INSERT INTO job_failed_attempts (job_id, attempt, kind) VALUES (%s, %s, %s)",
            [job, number + 1, kind],
        )
    return job


def again(jobs: Jobs) -> set[uuid.UUID]:
    return {row[0] for row in jobs.rows("SELECT job_id FROM job_queue")}


@pytest.mark.django_db
class TestRequeue:
    @pytest.mark.parametrize("instant", ["-infinity", "0100-01-01 BC", "infinity"])
    def test_a_time_that_no_clock_can_show_keeps_nothing_from_it(
        self, jobs: Jobs, instant: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(requeues, "BATCH", 1)
        odd, other = failed(jobs), failed(jobs)
        jobs.execute("UPDATE jobs SET created_at = %s WHERE id = %s", [instant, odd])

        assert requeue(RequeueFilter(), limit=10, **WHO).jobs == 2
        assert again(jobs) == {odd, other}

    def test_a_job_begins_anew(self, jobs: Jobs) -> None:
        job = failed(jobs, correlation_id="c1", name="report")

        found = requeue(RequeueFilter(), limit=10, **WHO)

        assert found.jobs == 1
        assert jobs.rows(
            "SELECT state, attempts, max_attempts, lost_leases, error_message, completed_at "
            "FROM jobs"
        ) == [("PENDING", 3, 4, 0, None, None)]
        assert again(jobs) == {job}
        assert jobs.rows("SELECT event_type, correlation_id, actor, payload FROM audit_logs") == [
            (
                *("JobRetried", "c1", "me"),
                json.dumps(
                    {"name": "report", "batch": str(found.batch), "state": "PENDING",
                     "job_id": str(job), "reason": "it is back"}
                ),
            )
        ]  # fmt: skip

    def test_every_filter_holds(self, jobs: Jobs) -> None:
        a = failed(jobs, queue="a", kinds=["IoError", "Unknown"])
        b = failed(jobs, name="b", hours=5, kinds=["Unknown", "IoError"])
        c = failed(jobs, state="TIMEOUT", kinds=["ExecutionTimeout"])
        for state in set(JobState) - {JobState.FAILED, JobState.TIMEOUT}:
            failed(jobs, state=state)

        def matching(**values: Any) -> set[uuid.UUID]:
            wanted = RequeueFilter(**values)
            condition, parameters = requeues._condition(wanted)
            before = datetime.now(UTC) + timedelta(seconds=5)
            rows = jobs.rows(
                f"SELECT id FROM jobs AS j WHERE {condition}", {**parameters, "before": before}
            )
            assert count(wanted) == len(rows)
            return {row[0] for row in rows}

        assert matching() == {a, b, c}
        assert matching(states=(JobState.TIMEOUT,)) == {c}
        assert matching(queue="a") == {a}
        assert matching(name="b") == {b}
        assert matching(kind=FailureKind.IO_ERROR) == {b}
        assert matching(since=datetime.now(UTC) - timedelta(hours=1)) == {a, c}
        assert matching(queue="a", name="b") == set()

    def test_the_oldest_first_up_to_the_limit(self, jobs: Jobs) -> None:
        made = [failed(jobs, n) for n in range(5)]
        for number, job in enumerate(made):
            jobs.execute(
                "UPDATE jobs SET created_at = now() - %s * interval '1 day' WHERE id = %s",
                [number, job],
            )

        assert requeue(RequeueFilter(), limit=2, **WHO).jobs == 2
        assert again(jobs) == set(made[3:])

    @pytest.mark.parametrize("states", [(), (JobState.SUCCEEDED,), (JobState.CANCELLED,)])
    def test_only_what_a_retry_leads_out_of(self, states: Any) -> None:
        with pytest.raises(ValueError, match="FAILED, TIMEOUT or both"):
            RequeueFilter(states=states)

    def test_a_limit_is_needed(self, jobs: Jobs) -> None:
        with pytest.raises(ValueError, match="give 1 to 1,000,000,000"):
            requeue(RequeueFilter(), limit=0, **WHO)


class TestBatches:
    def test_these_and_no_others(self, jobs: Jobs) -> None:
        first, second, other = failed(jobs, 1), failed(jobs, 2, state="TIMEOUT"), failed(jobs, 3)
        ended = failed(jobs, 4, state="SUCCEEDED")
        batch, nobody = uuid.uuid4(), uuid.uuid4()

        given = [first, second, ended, nobody, first]
        done = requeues.retry_these(given, batch=batch, **WHO)

        assert sorted(done) == sorted([first, second])
        assert again(jobs) == {first, second}
        assert jobs.rows("SELECT state FROM jobs WHERE id = %s", [other]) == [("FAILED",)]
        told = jobs.rows("SELECT payload->>'batch', payload->>'reason', actor FROM audit_logs")
        assert told == [(str(batch), "it is back", "me")] * 2
        assert requeues.retry_these([first, ended], batch=batch, **WHO) == []
        assert requeues.retry_these([], batch=batch, **WHO) == []

    def test_these_but_what_another_changes_now(self, jobs: Jobs) -> None:
        job = failed(jobs)
        with connect("default", "other") as other, other.transaction():
            other.execute("SELECT FROM jobs WHERE id = %s FOR UPDATE", [job])

            assert requeues.retry_these([job], batch=uuid.uuid4(), **WHO) == []

    def test_stopped_half_way_it_goes_on(self, jobs: Jobs, monkeypatch: Any) -> None:
        monkeypatch.setattr(requeues, "BATCH", 2)
        for n in range(7):
            failed(jobs, n)

        def stop(done: int) -> None:
            if done == 4:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            requeue(RequeueFilter(), limit=100, on_batch=stop, **WHO)
        assert len(again(jobs)) == 4
        assert jobs.value("SELECT count(*) FROM audit_logs") == 4

        assert requeue(RequeueFilter(), limit=100, **WHO).jobs == 3
        assert jobs.value("SELECT count(*) FROM audit_logs") == 7

    def test_one_that_fails_again_meanwhile_is_not_requeued_twice(
        self, jobs: Jobs, monkeypatch: Any
    ) -> None:
        monkeypatch.setattr(requeues, "BATCH", 1)
        failed(jobs)

        def fail(_done: int) -> None:
            jobs.execute("DELETE FROM job_queue")
            jobs.execute("UPDATE jobs SET state = 'FAILED', completed_at = clock_timestamp()")

        assert requeue(RequeueFilter(), limit=5, on_batch=fail, **WHO).jobs == 1

    def test_what_another_changes_now_is_left_alone(self, jobs: Jobs) -> None:
        kept, other_job = failed(jobs, 1), failed(jobs, 2)
        with connect("default", "other") as other, other.transaction():
            other.execute("SELECT FROM jobs WHERE id = %s FOR UPDATE", [kept])
            assert requeue(RequeueFilter(), limit=5, **WHO).jobs == 1

        assert again(jobs) == {other_job}


def command(name: str, *words: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command(name, *words, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


@pytest.mark.django_db
class TestRequeueCommand:
    def test_dry_run_says_how_many(self, jobs: Jobs) -> None:
        for n in range(3):
            failed(jobs, n)

        assert command("jobs_requeue", "--dry-run", "--limit", "2") == (
            "0 jobs were requeued\n",
            "3 jobs match; the 2 oldest are taken (--limit).\n",
        )
        assert again(jobs) == set()

    def test_with_a_reason_and_nobody_to_ask(self, jobs: Jobs) -> None:
        job = failed(jobs)
        said, _ = command("jobs_requeue", "--reason", "back", "--no-input", "--kind", "Unknown")

        assert said.startswith("1 job was requeued (batch ")
        assert again(jobs) == {job}
        assert "@" in jobs.value("SELECT actor FROM audit_logs")

    @pytest.mark.parametrize(
        ("words", "text"),
        [
            ((), "Say why"),
            (("--reason", "  "), "Say why"),
            (("--reason", "x"), "there is no terminal to ask on"),
            (("--limit", "0"), "no number of jobs"),
            (("--state", "SUCCEEDED"), "invalid choice"),
            (("--kind", "Nonsense"), "invalid choice"),
            (("--since", "yesterday-ish"), "yesterday-ish"),
        ],
    )
    def test_what_is_wrong_is_said(
        self, jobs: Jobs, words: tuple[str, ...], text: str, monkeypatch: Any
    ) -> None:
        monkeypatch.setattr("sys.stdin", None)
        failed(jobs)
        with pytest.raises(CommandError, match=text):
            command("jobs_requeue", *words)

        assert again(jobs) == set()

    @pytest.mark.parametrize("text", ["'; DROP TABLE jobs; --", "%s", "\N{SNOWMAN}", "x" * 9_999])
    def test_hostile_words_match_nothing(self, jobs: Jobs, text: str) -> None:
        failed(jobs)
        said, err = command(
            "jobs_requeue", "--queue", text, "--name", text, "--reason", text, "--no-input"
        )

        assert (said, err) == ("0 jobs were requeued\n", "0 jobs match.\n")


@pytest.mark.django_db
class TestStatsCommand:
    def test_json(self, jobs: Jobs) -> None:
        jobs.enqueue(1, queue="a")
        jobs.enqueue(2, run_after=datetime.now(UTC) + timedelta(hours=1))
        failed(jobs)

        found = json.loads(command("jobs_stats", "--format", "json")[0])

        assert set(found) == {
            *("format_version", "counted_up_to", "queues", "deferred", "next_due_at", "workers"),
            *("held_by_workers", "expired_leases", "failed", "needs_a_person", "database"),
        }
        assert [(one["queue"], one["ready"]) for one in found["queues"]] == [("a", 1)]
        assert found["queues"][0]["oldest_seconds"] >= 0
        assert (found["deferred"], found["failed"]) == (1, 1)

    def test_table(self, jobs: Jobs) -> None:
        jobs.enqueue(1, queue="q" * 64)

        said = command("jobs_stats")[0]

        assert max(map(len, said.splitlines())) <= 100
        assert f"{'q' * 64}         1  0 s" in said

    def test_of_nothing(self, jobs: Jobs) -> None:
        assert command("jobs_stats")[0].startswith("No job waits in any queue.\n")


def test_what_does_not_match_is_walked_over_once(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many that failed some are wanted: each batch begins where the one before it ended."""
    asked: list[Any] = []
    plain = CursorWrapper.execute

    def execute(self: Any, sql: Any, params: Any = None) -> Any:
        if isinstance(params, dict) and "from" in params:
            asked.append(params["from"])
        return plain(self, sql, params)

    for number in range(9):
        job = failed(jobs, name="wanted" if number % 2 else "other")
        jobs.execute(
            "UPDATE jobs SET created_at = now() - %s * interval '1 h' WHERE id = %s",
            [20 - number, job],
        )
    monkeypatch.setattr(requeues, "BATCH", 2)
    monkeypatch.setattr(CursorWrapper, "execute", execute)

    assert requeue(RequeueFilter(name="wanted"), limit=100, **WHO).jobs == 4

    first, *others = asked
    assert first == "-infinity"
    assert len(others) == 2
    assert others == sorted(set(others))
