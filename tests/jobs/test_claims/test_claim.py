from __future__ import annotations

import threading
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connections

from hodei.sessions import connect
from hodei.sql import statement
from jobs import leases
from jobs.assignments import Assignments
from jobs.runs import Claimed
from jobs.services import lifecycle, orchestration, workers
from tests.jobs.conftest import Jobs
from tests.jobs.test_claims.kit import ME, OTHER, Session, claim
from tests.processes import eventually


def numbers(claimed: list[Claimed]) -> list[Any]:
    import json

    return [json.loads(job.spec)["test"]["n"] for job in claimed]


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
                barrier.wait(30)
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
            thread.join(30)

        assert outcome == [lifecycle.CancelOutcome.REQUESTED]
        assert jobs.state(job) == "RUNNING"
        assert jobs.value("SELECT cancel_requested_at IS NOT NULL FROM job_leases")


def blocked(session: Session) -> bool:
    row = session.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND wait_event_type = 'Lock'"
    ).fetchone()
    return bool(row and row[0])


class TestPromote:
    def test_what_is_due_gets_a_place_and_what_is_not_stays(
        self, jobs: Jobs, session: Session
    ) -> None:
        later = jobs.value("SELECT now() + interval '1 hour'")
        due, waiting = (jobs.enqueue(n, run_after=later) for n in range(2))
        jobs.execute("UPDATE job_queue_deferred SET run_after = now() WHERE job_id = %s", [due])

        assert leases.promote(session) == 1

        assert jobs.place(due) == ["job_queue"]
        assert jobs.place(waiting) == ["job_queue_deferred"]

    @pytest.mark.parametrize("state", ["CANCELLED", "RUNNING", "MANUAL_INTERVENTION_REQUIRED"])
    def test_a_job_that_is_not_pending_gets_none(
        self, jobs: Jobs, session: Session, state: str
    ) -> None:
        """Whoever changed it left its row there, as the original's code would."""
        job = jobs.enqueue(1, run_after=jobs.value("SELECT now() + interval '1 hour'"))
        jobs.execute("UPDATE job_queue_deferred SET run_after = now()")
        jobs.execute("UPDATE jobs SET state = %s", [state])

        assert leases.promote(session) == 0

        assert jobs.place(job) == []


class TestTimesThatNoClockCanShow:
    """Another system writes to the table, too; and what cannot be read costs a claim all of it."""

    ODD = ("infinity", "-infinity", "10000-01-01", "0100-01-01 BC")

    @pytest.mark.parametrize("instant", ODD)
    def test_a_job_is_claimed_with_the_others(
        self, jobs: Jobs, session: Session, instant: str
    ) -> None:
        odd, other = jobs.enqueue(0), jobs.enqueue(1)
        jobs.execute(
            "UPDATE jobs SET created_at = %s, started_at = %s WHERE id = %s",
            [instant, instant, odd],
        )
        found = claim(session, starting=1)

        assert [job.id for job in found] == [odd, other]
        assert found[0].created_at.year in {1, 9999}
        assert (found[0].started_at is None, found[1].started_at) == (False, None)

        jobs.execute("UPDATE jobs SET state = 'PENDING', started_at = %s", [instant])
        jobs.execute("DELETE FROM job_leases")
        jobs.execute("INSERT INTO job_queue (job_id, queue) SELECT id, queue FROM jobs")
        assert [job.started_at for job in claim(session, starting=0)] == [None, None]

    @pytest.mark.parametrize("instant", ODD)
    def test_one_that_was_leased_to_a_worker_is_taken(
        self, jobs: Jobs, session: Session, instant: str
    ) -> None:
        job = jobs.enqueue(0, orchestrated=True)
        jobs.execute("UPDATE jobs SET created_at = %s, started_at = %s", [instant, instant])
        worker = workers.register_local(resource_id="host-1", spec={"concurrency": 1})
        assert orchestration.assign(job, actor="saga") is not None

        (found,) = Assignments(worker).take(session)
        assert (found.id, found.started_at) == (job, None)

    def test_a_worker_is_lost_all_the_same(self, jobs: Jobs, session: Session) -> None:
        worker = workers.register_local(resource_id="host-1")
        jobs.execute("UPDATE workers SET last_heartbeat = '-infinity'")
        asked = {"silence": 30.0, "making": 600.0, "uptime": 0.0, "number": 10}
        rows = session.execute(statement("jobs", "lose_workers"), asked).fetchall()
        assert rows == [(worker, "host-1", "READY", None)]
