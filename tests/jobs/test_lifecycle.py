"""What a person decides about a job: from every state, with a reason on record, two at once."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from hodei.sessions import connect
from jobs import leases
from jobs.services import lifecycle
from jobs.services.lifecycle import CancelOutcome, JobNotFound, JobStateConflict
from jobs.states import JobState
from tests.jobs.conftest import Jobs

WHO: dict[str, Any] = {"reason": "as agreed", "actor": "ada"}
UNBEGUN = {"PENDING", "ASSIGNED", "SCHEDULED"}
HELD_BY_WORKERS = {"ASSIGNED", "SCHEDULED", "RUNNING"}


def job_in(jobs: Jobs, state: JobState) -> uuid.UUID:
    """A job in a state, with its place and its lease as they are then."""
    job = jobs.enqueue(max_attempts=2)
    jobs.execute("UPDATE jobs SET state = %s, attempts = 2 WHERE id = %s", [state, job])
    if state != "PENDING":
        jobs.execute("DELETE FROM job_queue WHERE job_id = %s", [job])
    if state in HELD_BY_WORKERS:
        jobs.execute(
            "INSERT INTO job_leases (job_id, worker_id, epoch, expires_at) "
            "VALUES (%s, %s, 1, now() + interval '1 minute')",
            [job, uuid.uuid4()],
        )
    return job


Rule = tuple[str, Callable[..., Any], Callable[[str], str | None], str, list[str]]
RULES: list[Rule] = [
    (
        *("cancel", lifecycle.cancel),
        lambda state: (
            "CANCELLED"
            if state in {*UNBEGUN, "CREATED", "MANUAL_INTERVENTION_REQUIRED"}
            else "RUNNING"
            if state == "RUNNING"
            else None
        ),
        *("JobCancelled", []),
    ),
    (
        *("retry", lifecycle.retry),
        lambda state: "PENDING" if state in {"FAILED", "TIMEOUT"} else None,
        *("JobRetried", ["job_queue"]),
    ),
    (
        *("hold", lifecycle.hold),
        lambda state: "MANUAL_INTERVENTION_REQUIRED" if state in UNBEGUN else None,
        *("JobHeld", []),
    ),
    (
        *("release", lifecycle.release),
        lambda state: "PENDING" if state == "MANUAL_INTERVENTION_REQUIRED" else None,
        *("JobReleased", ["job_queue"]),
    ),
]


@pytest.mark.django_db
class TestEveryState:
    @pytest.mark.parametrize("state", list(JobState))
    @pytest.mark.parametrize(
        ("act", "rule", "told", "place"), [rule[1:] for rule in RULES], ids=[r[0] for r in RULES]
    )
    def test_defect_3_1_moves_or_refuses(
        self,
        jobs: Jobs,
        state: JobState,
        act: Callable[..., Any],
        rule: Callable[[str], str | None],
        told: str,
        place: list[str],
    ) -> None:
        job = job_in(jobs, state)
        before = jobs.rows("SELECT to_jsonb(j)::text FROM jobs AS j"), jobs.place(job)
        expected = rule(state)

        if expected is None:
            with pytest.raises(JobStateConflict) as caught:
                act(job, **WHO)
            assert str(caught.value).startswith(f"Job {job} is {state} and cannot be ")
            assert caught.value.found == state
            assert (jobs.rows("SELECT to_jsonb(j)::text FROM jobs AS j"), jobs.place(job)) == before
            assert jobs.value("SELECT count(*) FROM audit_logs") == 0
            return

        act(job, **WHO)

        assert jobs.state(job) == expected
        running = state == "RUNNING"
        assert jobs.place(job) == (["job_leases"] if running else place)
        ((event, actor, payload),) = jobs.rows("SELECT event_type, actor, payload FROM audit_logs")
        assert (event, actor) == ("JobCancelRequested" if running else told, "ada")
        assert "as agreed" in str(payload)

    @pytest.mark.parametrize("state", list(JobState))
    def test_defect_3_1_delete(self, jobs: Jobs, state: JobState) -> None:
        job = job_in(jobs, state)

        if state in HELD_BY_WORKERS:
            with pytest.raises(JobStateConflict, match="cancel it first"):
                lifecycle.delete(job, **WHO)
            assert jobs.state(job) == state
            return
        lifecycle.delete(job, **WHO)

        assert jobs.value("SELECT count(*) FROM jobs") == 0
        assert jobs.value("SELECT count(*) FROM job_queue") == 0
        assert jobs.value("SELECT event_type FROM audit_logs") == "JobDeleted"

    @pytest.mark.parametrize(
        "act",
        [
            lifecycle.cancel,
            lifecycle.retry,
            lifecycle.hold,
            lifecycle.release,
            lifecycle.delete,
        ],
    )
    def test_defect_3_1_of_nothing(self, jobs: Jobs, act: Callable[..., Any]) -> None:
        job = uuid.uuid4()
        with pytest.raises(JobNotFound, match=f"There is no job {job}"):
            act(job, **WHO)

    def test_defect_3_1_a_retry_gives_at_least_one_more_run(self, jobs: Jobs) -> None:
        job = job_in(jobs, JobState.FAILED)
        jobs.execute("UPDATE jobs SET lost_leases = 5, error_message = 'it broke'")

        lifecycle.retry(job, **WHO)

        assert jobs.rows("SELECT attempts, max_attempts, lost_leases, error_message FROM jobs") == [
            (2, 3, 0, None)
        ]

    def test_a_second_cancel_keeps_the_time_of_the_first(self, jobs: Jobs) -> None:
        job = job_in(jobs, JobState.RUNNING)
        assert lifecycle.cancel(job, **WHO) is CancelOutcome.REQUESTED
        first = jobs.value("SELECT cancel_requested_at FROM job_leases")

        assert lifecycle.cancel(job, **WHO) is CancelOutcome.REQUESTED

        assert jobs.value("SELECT cancel_requested_at FROM job_leases") == first


class TestTwoAtOnce:
    @pytest.mark.parametrize("act", [lifecycle.cancel, lifecycle.hold, lifecycle.delete])
    def test_defect_3_2_with_a_claim_nobody_has_it_twice(
        self, jobs: Jobs, act: Callable[..., Any]
    ) -> None:
        """Whoever comes first: the job is held by one, or the other is told."""
        for _ in range(5):
            jobs.execute("TRUNCATE jobs, job_queue, job_leases CASCADE")
            job = jobs.enqueue()
            barrier = threading.Barrier(2)
            claimed: list[Any] = []

            def claim(barrier: threading.Barrier = barrier, claimed: list[Any] = claimed) -> None:
                with connect("default", "claims") as session:
                    barrier.wait(10)
                    claimed.extend(leases.claim(session, uuid.uuid4(), ["default"], 5, starting=5))

            thread = threading.Thread(target=claim)
            thread.start()
            barrier.wait(10)
            refused = False
            outcome = None
            try:
                outcome = act(job, **WHO)
            except JobStateConflict:
                refused = True
            thread.join(30)

            if claimed:
                assert refused or outcome is CancelOutcome.REQUESTED
                assert jobs.place(job) == ["job_leases"]
                assert jobs.state(job) == "RUNNING"
            else:
                assert not refused
                assert jobs.place(job) == []

    def test_of_two_retries_one_is_told(self, jobs: Jobs) -> None:
        job = job_in(jobs, JobState.FAILED)
        barrier = threading.Barrier(2)
        told: list[Exception | None] = []

        def retry() -> None:
            try:
                barrier.wait(10)
                lifecycle.retry(job, **WHO)
                told.append(None)
            except JobStateConflict as error:
                told.append(error)
            finally:
                connection.close()

        threads = [threading.Thread(target=retry) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)

        assert sorted(type(one).__name__ for one in told) == ["JobStateConflict", "NoneType"]
        assert jobs.place(job) == ["job_queue"]
        assert jobs.value("SELECT count(*) FROM audit_logs") == 1


class TestDrain:
    def test_it_runs_what_a_dead_worker_held_however_soon_it_ends(
        self, jobs: Jobs, session: Any
    ) -> None:
        job = jobs.enqueue(7)
        leases.claim(session, uuid.uuid4(), ["default"], 1, starting=1, seconds=0.0)

        assert jobs.drain() == [7]
        assert jobs.state(job) == "SUCCEEDED"
