"""What a person decides about a job: from every state, with a reason on record, two at once."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from hodei.sessions import connect
from jobs import leases
from jobs.services import lifecycle
from jobs.services.lifecycle import CancelOutcome, JobNotFound, JobStateConflict
from jobs.spec import JobInvalid
from jobs.states import JOB_DECISIONS, JobState
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
        lambda state: "PENDING" if state in {"MANUAL_INTERVENTION_REQUIRED", "CREATED"} else None,
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
        """There an ASSIGNED one could not be cancelled, and whoever saved wrote over any state."""
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

        assert (state in JOB_DECISIONS["delete"]) is (state not in HELD_BY_WORKERS)
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
            lambda job, **who: lifecycle.set_priority(job, 1, **who),
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

    def test_one_that_was_completed_and_has_its_lease_still_is_not_cancelled(
        self, jobs: Jobs
    ) -> None:
        """Its run has completed it in a transaction of its own, and has not returned."""
        job = job_in(jobs, JobState.RUNNING)
        jobs.execute("UPDATE jobs SET state = 'SUCCEEDED'")

        with pytest.raises(JobStateConflict, match="is SUCCEEDED and cannot be cancelled"):
            lifecycle.cancel(job, **WHO)

        assert jobs.value("SELECT count(cancel_requested_at) FROM job_leases") == 0
        assert jobs.value("SELECT count(*) FROM audit_logs") == 0

    def test_a_second_cancel_keeps_the_time_of_the_first(self, jobs: Jobs) -> None:
        job = job_in(jobs, JobState.RUNNING)
        assert lifecycle.cancel(job, **WHO) is CancelOutcome.REQUESTED
        first = jobs.value("SELECT cancel_requested_at FROM job_leases")

        assert lifecycle.cancel(job, **WHO) is CancelOutcome.REQUESTED

        assert jobs.value("SELECT cancel_requested_at FROM job_leases") == first

    @pytest.mark.parametrize("state", list(JobState))
    def test_a_priority_is_changed_while_it_waits(self, jobs: Jobs, state: JobState) -> None:
        job = job_in(jobs, state)

        if state not in JOB_DECISIONS["set_priority"]:
            with pytest.raises(JobStateConflict, match="only one that waits or is held can be"):
                lifecycle.set_priority(job, 7, **WHO)
            assert jobs.value("SELECT priority FROM jobs") == 0
            return
        lifecycle.set_priority(job, 7, **WHO)

        assert jobs.value("SELECT priority FROM jobs") == 7
        assert jobs.rows("SELECT priority FROM job_queue") == [(7,)] * (state == "PENDING")
        ((event, payload),) = jobs.rows("SELECT event_type, payload FROM audit_logs")
        assert event == "JobPriorityChanged"
        assert '"priority": 7' in str(payload).replace("'", '"')

    def test_a_priority_of_what_is_due_later_is_changed(self, jobs: Jobs) -> None:
        job = jobs.enqueue(run_after=datetime.now(UTC) + timedelta(hours=1))

        lifecycle.set_priority(job, -7, **WHO)

        assert jobs.value("SELECT priority FROM job_queue_deferred") == -7

    @pytest.mark.parametrize("priority", [101, -101, 1.5, "7", None, True])
    def test_a_priority_is_checked(self, jobs: Jobs, priority: Any) -> None:
        job = jobs.enqueue()

        with pytest.raises(JobInvalid, match="priority is"):
            lifecycle.set_priority(job, priority, **WHO)

        assert jobs.value("SELECT priority FROM jobs") == 0


@pytest.mark.parametrize("rule", RULES, ids=[rule[0] for rule in RULES])
def test_the_table_of_decisions_is_what_they_do(rule: Rule) -> None:
    assert JOB_DECISIONS[rule[0]] == {state for state in JobState if rule[2](state)}


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
                    barrier.wait(30)
                    claimed.extend(leases.claim(session, uuid.uuid4(), ["default"], 5, starting=5))

            thread = threading.Thread(target=claim)
            thread.start()
            barrier.wait(30)
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

    def test_defect_3_1_of_two_retries_one_is_told(self, jobs: Jobs) -> None:
        job = job_in(jobs, JobState.FAILED)
        barrier = threading.Barrier(2)
        told: list[Exception | None] = []

        def retry() -> None:
            try:
                barrier.wait(30)
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
