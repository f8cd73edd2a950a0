"""Claim, start, finish, renew, rescue: each statement, and two at once."""

from __future__ import annotations

import threading
import uuid
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import psycopg
import pytest
from django.db import connections

from hodei.sessions import connect
from jobs import leases, retry
from jobs.runs import Claimed, Ended, Failed, Snoozed, Succeeded
from jobs.services import lifecycle
from jobs.states import FailureKind, JobState
from tests.jobs.conftest import Jobs
from tests.processes import eventually

Session = psycopg.Connection[Any]
ME, OTHER = uuid.uuid4(), uuid.uuid4()


def claim(session: Session, number: int = 10, *, worker: uuid.UUID = ME, **options: Any) -> Any:
    options = {"starting": number, "queues": ["default"], **options}
    queues = options.pop("queues")
    return leases.claim(session, worker, queues, number, **options)


def numbers(claimed: list[Claimed]) -> list[Any]:
    import json

    return [json.loads(job.spec)["test"]["n"] for job in claimed]


def ended(job: Claimed, state: JobState = JobState.SUCCEEDED, **values: Any) -> Ended:
    return Ended(job.id, job.epoch, state, **values)


class TestClaim:
    def test_defect_3_2_highest_priority_first_then_the_oldest(
        self, jobs: Jobs, session: Session
    ) -> None:
        for n, priority in enumerate([0, 5, 0, 100, -5]):
            jobs.enqueue(n, priority=priority)

        assert numbers(claim(session, 3)) == [3, 1, 0]
        assert numbers(claim(session, 3)) == [2, 4]
        assert claim(session) == []

    def test_what_begins_is_running_and_the_rest_is_not(self, jobs: Jobs, session: Session) -> None:
        for n in range(3):
            jobs.enqueue(n)

        claimed = claim(session, 3, starting=1)

        assert [job.started for job in claimed] == [True, False, False]
        assert jobs.rows(
            "SELECT state, attempts, started_at IS NOT NULL, worker_id FROM jobs ORDER BY id"
        ) == [
            ("RUNNING", 1, True, ME),
            ("ASSIGNED", 0, False, ME),
            ("ASSIGNED", 0, False, ME),
        ]
        assert jobs.place(claimed[0].id) == ["job_leases"]
        assert len({job.epoch for job in claimed}) == 3

    def test_only_the_queues_that_were_asked_for(self, jobs: Jobs, session: Session) -> None:
        jobs.enqueue(1, queue="a")
        jobs.enqueue(2, queue="b", priority=9)
        jobs.enqueue(3, queue="c")

        assert numbers(claim(session, queues=["a", "b"])) == [2, 1]
        assert jobs.value("SELECT count(*) FROM job_queue") == 1

    def test_pitfall_2_what_is_due_later_is_off_its_path(
        self, jobs: Jobs, session: Session
    ) -> None:
        later = jobs.enqueue(1, run_after=datetime.now(UTC) + timedelta(hours=1))
        past = jobs.enqueue(2, run_after=datetime.now(UTC) - timedelta(hours=1))

        assert jobs.place(later) == ["job_queue_deferred"]
        assert [job.id for job in claim(session)] == [past]
        assert leases.promote(session) == 0
        jobs.execute("UPDATE job_queue_deferred SET run_after = now()")
        assert leases.promote(session) == 1
        assert [job.id for job in claim(session)] == [later]

    @pytest.mark.parametrize("state", ["CANCELLED", "SUCCEEDED", "FAILED", "RUNNING"])
    def test_defect_3_2_a_job_that_is_not_pending_is_not_revived(
        self, jobs: Jobs, session: Session, state: str
    ) -> None:
        job = jobs.enqueue(1)
        jobs.execute("UPDATE jobs SET state = %s", [state])

        assert claim(session) == []
        assert jobs.state(job) == state
        assert jobs.place(job) == []

    def test_two_at_once_share_and_never_overlap(self, jobs: Jobs) -> None:
        for n in range(200):
            jobs.enqueue(n)
        barrier = threading.Barrier(4)
        found: list[list[Claimed]] = []

        def work() -> None:
            with connect("default", "test") as session:
                barrier.wait(10)
                while got := claim(session, 7, worker=uuid.uuid4()):
                    found.append(got)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)

        taken = [job.id for got in found for job in got]
        assert len(taken) == len(set(taken)) == 200

    def test_pitfall_1_no_more_than_asked_are_locked_or_taken(
        self, jobs: Jobs, session: Session
    ) -> None:
        for n in range(20):
            jobs.enqueue(n)
        with session.transaction():
            assert len(claim(session, 5)) == 5
            with connect("default", "other") as other:
                assert len(claim(other, 20, worker=OTHER)) == 15

    def test_pitfall_8_beyond_a_mark_it_walks_over_nothing_dead(
        self, jobs: Jobs, session: Session
    ) -> None:
        for n in range(30):
            jobs.enqueue(n)
        first = claim(session, 10)
        mark = {"default": leases.Mark(first[-1].priority, first[-1].place)}

        assert numbers(claim(session, 10, marks=mark)) == list(range(10, 20))

    def test_a_cancel_that_waits_for_the_claim_is_honoured(
        self, jobs: Jobs, session: Session
    ) -> None:
        job = jobs.enqueue(1)
        with connect("default", "other") as other:
            other.execute("BEGIN")
            claim(other, worker=OTHER)
            outcome: list[Any] = []

            def stop() -> None:
                try:
                    outcome.append(lifecycle.cancel(job, reason="no more", actor="me"))
                finally:
                    connections.close_all()

            thread = threading.Thread(target=stop)
            thread.start()
            assert eventually(lambda: blocked(session))
            other.execute("COMMIT")
            thread.join(10)

        assert outcome == [lifecycle.CancelOutcome.REQUESTED]
        assert jobs.state(job) == "RUNNING"
        assert jobs.value("SELECT cancel_requested_at IS NOT NULL FROM job_leases")


def blocked(session: Session) -> bool:
    row = session.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND wait_event_type = 'Lock'"
    ).fetchone()
    return bool(row and row[0])


class TestStart:
    def test_spends_an_attempt_under_the_lease(self, jobs: Jobs, session: Session) -> None:
        job = jobs.enqueue(1)
        (assigned,) = claim(session, starting=0)

        (begun,) = leases.start(session, [assigned])

        assert (begun.attempts, begun.started) == (1, True)
        assert jobs.state(job) == "RUNNING"

    def test_one_that_was_cancelled_or_taken_away_does_not_begin(
        self, jobs: Jobs, session: Session
    ) -> None:
        jobs.enqueue(1)
        jobs.enqueue(2)
        cancelled, stolen = claim(session, starting=0)
        lifecycle.cancel(cancelled.id, reason="no", actor="me")
        jobs.execute("UPDATE job_leases SET epoch = epoch + 100")

        assert leases.start(session, [cancelled, stolen]) == []
        assert jobs.state(cancelled.id) == "CANCELLED"
        assert jobs.state(stolen.id) == "ASSIGNED"


class TestFinish:
    def test_writes_down_how_it_ended(self, jobs: Jobs, session: Session) -> None:
        good, bad = jobs.enqueue(1), jobs.enqueue(2)
        first, second = claim(session)

        ours = leases.finish(
            session,
            [
                ended(first, result='{"a": 1}'),
                ended(
                    second,
                    JobState.FAILED,
                    error="no",
                    kind=FailureKind.NON_ZERO_EXIT_CODE,
                    error_class="a.B",
                    traceback="here",
                ),
            ],
        )

        assert ours == {good, bad}
        assert jobs.rows(
            "SELECT state, result::text, error_message, attempts, completed_at IS NOT NULL "
            "FROM jobs ORDER BY id"
        ) == [("SUCCEEDED", '{"a": 1}', None, 1, True), ("FAILED", None, "no", 1, True)]
        assert jobs.rows(
            "SELECT job_id, attempt, worker_id, kind, error_class, message, traceback "
            "FROM job_failed_attempts"
        ) == [(bad, 1, ME, "NonZeroExitCode", "a.B", "no", "here")]
        assert jobs.value("SELECT count(*) FROM job_leases") == 0

    def test_defect_3_1_a_retry_waits_for_its_time(self, jobs: Jobs, session: Session) -> None:
        job = jobs.enqueue(1)
        (claimed,) = claim(session)

        leases.finish(
            session,
            [ended(claimed, JobState.PENDING, error="x", seconds=60.0, kind=FailureKind.UNKNOWN)],
        )

        assert jobs.place(job) == ["job_queue_deferred"]
        assert jobs.rows(
            "SELECT state, attempts, completed_at, run_after > now() + interval '50 s' FROM jobs"
        ) == [("PENDING", 1, None, True)]

    def test_one_that_is_returned_has_spent_nothing(self, jobs: Jobs, session: Session) -> None:
        job = jobs.enqueue(1)
        for starting in (0, 1):
            (claimed,) = claim(session, starting=starting)
            assert leases.finish(session, [retry.returned(claimed)]) == {job}
            assert jobs.place(job) == ["job_queue"]
            assert jobs.rows("SELECT state, attempts FROM jobs") == [("PENDING", 0)]
        assert jobs.value("SELECT count(*) FROM job_failed_attempts") == 0

    def test_a_stolen_lease_is_not_written_over(self, jobs: Jobs, session: Session) -> None:
        job = jobs.enqueue(1)
        (zombie,) = claim(session)
        jobs.execute("UPDATE job_leases SET expires_at = now() - interval '1 s'")
        leases.rescue(session)
        (owner,) = claim(session, worker=OTHER)

        assert leases.finish(session, [ended(zombie, JobState.FAILED, error="late")]) == set()
        assert jobs.state(job) == "RUNNING"
        assert leases.finish(session, [ended(owner)]) == {job}
        assert jobs.state(job) == "SUCCEEDED"
        assert leases.finish(session, [ended(owner, JobState.FAILED)]) == set()
        assert jobs.state(job) == "SUCCEEDED"


class TestRenew:
    def test_prolongs_what_is_ours_and_tells_of_cancels(self, jobs: Jobs, session: Session) -> None:
        for n in range(3):
            jobs.enqueue(n)
        kept, cancelled, lost = claim(session, seconds=5.0)
        lifecycle.cancel(cancelled.id, reason="no", actor="me")
        jobs.execute("UPDATE job_leases SET epoch = -1 WHERE job_id = %s", [lost.id])

        held = [(job.id, job.epoch) for job in (kept, cancelled, lost)]
        found = leases.renew(session, held, seconds=100.0)

        assert found == {kept.id: False, cancelled.id: True}
        assert jobs.rows(
            "SELECT expires_at > now() + interval '50 s' FROM job_leases WHERE job_id <> %s",
            [lost.id],
        ) == [(True,), (True,)]


class TestRescue:
    def expire(self, jobs: Jobs) -> None:
        jobs.execute("UPDATE job_leases SET expires_at = now() - interval '1 s'")

    def test_defect_3_2_puts_back_what_a_dead_worker_held(
        self, jobs: Jobs, session: Session
    ) -> None:
        running, assigned = jobs.enqueue(1), jobs.enqueue(2)
        claim(session, starting=1)
        assert leases.rescue(session) == []
        self.expire(jobs)

        assert {row[0] for row in leases.rescue(session)} == {running, assigned}
        assert jobs.rows("SELECT state, attempts, lost_leases FROM jobs ORDER BY id") == [
            ("PENDING", 0, 1),
            ("PENDING", 0, 0),
        ]
        assert jobs.place(running) == jobs.place(assigned) == ["job_queue"]
        assert jobs.rows("SELECT job_id FROM job_failed_attempts") == [(running,)]

    def test_what_is_lost_again_waits_at_random_and_meets_others(
        self, jobs: Jobs, session: Session
    ) -> None:
        for n in range(20):
            jobs.enqueue(n)
        for _ in range(2):
            claim(session, 20)
            self.expire(jobs)
            leases.rescue(session)

        waits = jobs.rows(
            "SELECT extract(epoch FROM d.run_after - clock_timestamp())::float8, "
            "d.run_after = j.run_after FROM job_queue_deferred AS d JOIN jobs AS j ON j.id = job_id"
        )
        seconds = [row[0] for row in waits]
        assert len(seconds) == 20
        assert all(row[1] for row in waits)
        assert -5 < min(seconds) < leases.APART_SECONDS / 2 < max(seconds) < leases.APART_SECONDS

    def test_pitfall_9_a_long_run_with_a_live_lease_is_left_alone(
        self, jobs: Jobs, session: Session
    ) -> None:
        jobs.enqueue(1)
        claim(session)
        jobs.execute("UPDATE jobs SET started_at = now() - interval '1 day'")

        assert leases.rescue(session) == []

    def test_gives_up_after_five(self, jobs: Jobs, session: Session) -> None:
        job = jobs.enqueue(1)
        for _ in range(leases.MOST_LOST_LEASES):
            assert jobs.state(job) == "PENDING"
            jobs.execute("UPDATE job_queue_deferred SET run_after = now()")
            leases.promote(session)
            claim(session)
            self.expire(jobs)
            leases.rescue(session)

        assert jobs.rows("SELECT state, lost_leases, result ->> 'kind' FROM jobs") == [
            ("FAILED", 5, "InfrastructureError")
        ]
        assert jobs.place(job) == []

    def test_one_that_was_to_be_cancelled_is(self, jobs: Jobs, session: Session) -> None:
        job = jobs.enqueue(1)
        claim(session)
        lifecycle.cancel(job, reason="no", actor="me")
        self.expire(jobs)
        leases.rescue(session)

        assert jobs.state(job) == "CANCELLED"

    def test_a_finish_and_a_rescue_at_once_are_one_of_the_two(self, jobs: Jobs) -> None:
        """Two connections, each order: whoever deletes the lease decides."""
        for first in ("finish", "rescue"):
            jobs.execute("TRUNCATE jobs, job_queue, job_queue_deferred, job_leases, "
                         "job_failed_attempts, job_log_files, job_log_tails, workers")  # fmt: skip
            job = jobs.enqueue(1)
            with connect("default", "a") as one, connect("default", "b") as two:
                (claimed,) = claim(one)
                self.expire(jobs)
                one.execute("BEGIN")
                two.execute("BEGIN")
                if first == "finish":
                    assert leases.finish(one, [ended(claimed)]) == {job}
                    assert leases.rescue(two) == []
                else:
                    assert len(leases.rescue(two)) == 1
                    two.execute("COMMIT")
                    assert leases.finish(one, [ended(claimed)]) == set()
                one.execute("COMMIT")
                two.execute("ROLLBACK")
            assert jobs.state(job) == ("SUCCEEDED" if first == "finish" else "PENDING")


class TestEnd:
    """What is written down of an outcome: a pure rule."""

    def job(self, attempts: int = 1, max_attempts: int = 3) -> Claimed:
        now = datetime(2026, 1, 1, tzinfo=UTC)
        return Claimed(
            *(uuid.uuid4(), 7, "{}", attempts, max_attempts, None, "", None, None, now, now, 0),
            *("{}", True, 0, 1, "default"),
        )

    def end(self, outcome: Any, **values: Any) -> Ended:
        return retry.end(self.job(**values), outcome, rng=Random(1))

    def test_a_success(self) -> None:
        found = self.end(Succeeded({"a": 1}))

        assert (found.state, found.result, found.spent) == (JobState.SUCCEEDED, '{"a": 1}', True)

    @pytest.mark.parametrize("result", [{1, 2}, float("nan"), "a\0", "\ud800", "x" * 2_000_000])
    def test_a_result_that_cannot_be_stored_is_a_failure(self, result: Any) -> None:
        found = self.end(Succeeded(result))

        assert (found.state, found.kind) == (JobState.FAILED, FailureKind.VALIDATION_ERROR)
        assert found.error is not None
        assert found.error.startswith("The result ")

    def test_a_snooze_spends_nothing(self) -> None:
        found = self.end(Snoozed(5.0))

        assert (found.state, found.seconds, found.spent) == (JobState.PENDING, 5.0, False)

    @pytest.mark.parametrize("kind", list(FailureKind))
    def test_defect_3_1_only_some_kinds_are_tried_again(self, kind: FailureKind) -> None:
        found = self.end(Failed(kind, "no"))

        again = kind in retry.RETRYABLE
        assert found.state is (JobState.PENDING if again else JobState.FAILED)
        assert (found.seconds is not None) is again

    def test_the_last_attempt_is_the_last(self) -> None:
        assert self.end(Failed(FailureKind.UNKNOWN, "no"), attempts=2).state is JobState.PENDING
        assert self.end(Failed(FailureKind.UNKNOWN, "no"), attempts=3).state is JobState.FAILED

    def test_the_job_may_say_when_and_whether(self) -> None:
        said = Failed(FailureKind.VALIDATION_ERROR, "no", retryable=True, retry_in=7.0)
        assert self.end(said).seconds == 7.0
        never = Failed(FailureKind.UNKNOWN, "no", retryable=False)
        assert self.end(never).state is JobState.FAILED

    def test_texts_are_cut_and_made_storable(self) -> None:
        found = self.end(
            Failed(FailureKind.UNKNOWN, "a\0\ud800" + "x" * 10_000, "c" * 300, "t" * 50_000)
        )

        assert found.error is not None
        assert found.traceback is not None
        assert len(found.error) == retry.LONGEST_ERROR
        assert found.error.startswith("a\N{REPLACEMENT CHARACTER}?x")
        assert len(found.error_class or "") == 255
        assert len(found.traceback) == retry.LONGEST_TRACEBACK
