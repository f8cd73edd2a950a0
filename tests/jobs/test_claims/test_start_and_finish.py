from __future__ import annotations

from random import Random
from typing import Any

import pytest

from jobs import leases, retry
from jobs.runs import Failed, Snoozed, TimedOut
from jobs.services import lifecycle
from jobs.services.lifecycle import CancelOutcome
from jobs.states import FailureKind, JobState
from tests.jobs.conftest import Jobs
from tests.jobs.test_claims.kit import ME, OTHER, Session, claim, ended


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

    def test_one_that_is_to_stop_does_not_begin_and_ends_with_its_lease(
        self, jobs: Jobs, session: Session
    ) -> None:
        """Whoever has asked for that: a cancel takes the lease of what has not begun away."""
        job = jobs.enqueue(1)
        (assigned,) = claim(session, starting=0)
        jobs.execute("UPDATE job_leases SET cancel_requested_at = now()")

        assert leases.start(session, [assigned]) == []
        assert jobs.rows("SELECT state, attempts FROM jobs") == [("ASSIGNED", 0)]
        jobs.execute("UPDATE job_leases SET expires_at = now() - interval '1 second'")
        assert [row[:2] for row in leases.rescue(session)] == [(job, "CANCELLED")]
        assert jobs.rows("SELECT state, attempts FROM jobs") == [("CANCELLED", 0)]


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

    def test_defect_3_2_one_that_is_returned_keeps_its_place(
        self, jobs: Jobs, session: Session
    ) -> None:
        """There it went to the tail, so a worker that stopped let others overtake."""
        for n in range(3):
            jobs.enqueue(n)
        line = jobs.rows("SELECT id, job_id, enqueued_at FROM job_queue ORDER BY id")
        begun, waiting = claim(session, 2, starting=1)
        leases.finish(session, [retry.returned(waiting), retry.returned(begun)])

        assert jobs.rows("SELECT id, job_id, enqueued_at FROM job_queue ORDER BY id") == line

    def test_one_that_has_run_goes_to_the_end(self, jobs: Jobs, session: Session) -> None:
        first, second = jobs.enqueue(1), jobs.enqueue(2)
        (job,) = claim(session, 1)
        leases.finish(session, [retry.end(job, Snoozed(0.0), rng=Random(1))])

        assert jobs.rows("SELECT job_id FROM job_queue ORDER BY id") == [(second,), (first,)]

    def test_one_that_is_returned_is_as_it_was(self, jobs: Jobs, session: Session) -> None:
        """Also what is said of the run before it, and when that began."""
        jobs.enqueue(1)
        (job,) = claim(session)
        failure = Failed(FailureKind.UNKNOWN, "no", result={"a": 1}, retry_in=0.0)
        leases.finish(session, [retry.end(job, failure, rng=Random(1))])
        said = "SELECT state, attempts, error_message, result::text FROM jobs"
        assert jobs.rows(said) == [("PENDING", 1, "no", '{"a": 1}')]
        for starting, begins in ((0, 1), (1, 0)):
            (job,) = claim(session, starting=starting)
            leases.finish(session, [retry.returned(job)])

            assert jobs.rows(said) == [("PENDING", 1, "no", '{"a": 1}')]
            # Of a claim that was to begin at once, the time of the run before is gone.
            assert jobs.value("SELECT count(started_at) FROM jobs") == begins

    @pytest.mark.parametrize(
        "outcome",
        [
            Failed(FailureKind.UNKNOWN, "no", retry_in=60.0),
            Failed(FailureKind.UNKNOWN, "no", retry_in=0.0),
            TimedOut("late"),
            Snoozed(60.0),
            Snoozed(0.0),
            None,
        ],
        ids=["later", "at once", "timeout", "snooze", "snooze for no time", "returned"],
    )
    def test_what_would_run_again_and_was_cancelled_does_not(
        self, jobs: Jobs, session: Session, outcome: Any
    ) -> None:
        """It ended before its worker had heard of that."""
        job = jobs.enqueue(1)
        (claimed,) = claim(session)
        assert lifecycle.cancel(job, reason="no", actor="me") is CancelOutcome.REQUESTED
        end = retry.end(claimed, outcome, rng=Random(1)) if outcome else retry.returned(claimed)

        assert leases.finish(session, [end]) == {job}

        assert jobs.rows("SELECT state, error_message, completed_at IS NULL, run_after FROM jobs") \
            == [("CANCELLED", "Cancelled while it ran.", False, None)]  # fmt: skip
        assert jobs.place(job) == []
        failed = isinstance(outcome, Failed | TimedOut)
        assert jobs.value("SELECT count(*) FROM job_failed_attempts") == failed

    @pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.FAILED, JobState.TIMEOUT])
    def test_what_has_ended_before_it_heard_of_a_cancel_keeps_its_end(
        self, jobs: Jobs, session: Session, state: JobState
    ) -> None:
        job = jobs.enqueue(1)
        (claimed,) = claim(session)
        lifecycle.cancel(job, reason="no", actor="me")
        leases.finish(session, [ended(claimed, state, error="its own")])

        assert jobs.rows("SELECT state, error_message FROM jobs") == [(state, "its own")]

    def test_a_place_that_is_taken_is_left_to_who_has_it(
        self, jobs: Jobs, session: Session
    ) -> None:
        """Whoever has restored the queue may have begun its numbers anew."""
        returned, rescued, other = (jobs.enqueue(n) for n in range(3))
        jobs.execute("DELETE FROM job_queue WHERE job_id = %s", [other])
        held = claim(session, 2, starting=0)
        for job in held:
            jobs.execute(
                "UPDATE job_leases SET place = -1, expires_at = now() - %s * interval '1 s' "
                "WHERE job_id = %s",
                [1 if job.id == rescued else -9, job.id],
            )
        jobs.execute("INSERT INTO job_queue (id, job_id) VALUES (-1, %s)", [other])
        leases.finish(session, [retry.returned(job) for job in held if job.id == returned])
        leases.rescue(session)

        assert jobs.rows("SELECT job_id FROM job_queue ORDER BY id") == [
            *((other,), (returned,), (rescued,)),
        ]

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
