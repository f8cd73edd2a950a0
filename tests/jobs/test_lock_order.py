"""Rows that several transactions lock are locked in one order, or without waiting: nobody waits
crosswise, which the server would end for one of the two."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction

from hodei.sessions import connect
from hodei.sql import statement
from jobs import leases
from jobs.logs.keeper import Written, settle
from jobs.models import Lease
from jobs.runs import Claimed
from jobs.services import lifecycle, logs, orchestration, workers
from jobs.services.lifecycle import JobStateConflict
from jobs.services.workers import WorkerStateConflict
from tests.jobs.conftest import Jobs
from tests.jobs.test_workers.kit import WHO, Session, make_worker, silence, state_of
from tests.meeting import at_once, made_to_wait, unlocked

LEASES = "SELECT job_id FROM job_leases"


def hold(jobs: Jobs, session: Session, worker: uuid.UUID, number: int = 5) -> list[Claimed]:
    """Jobs that a worker has, those first that it should lock last: so are their leases stored."""
    for n in range(number):
        jobs.enqueue(n)
    found = leases.claim(session, worker, ["default"], number, starting=0)
    jobs.execute(
        "WITH gone AS (DELETE FROM job_leases RETURNING *) "
        "INSERT INTO job_leases SELECT * FROM gone ORDER BY job_id DESC"
    )
    return sorted(found, key=lambda job: job.id, reverse=True)


def renew(session: Session, held: list[Claimed], _worker: uuid.UUID) -> Any:
    return leases.renew(session, [(job.id, job.epoch) for job in held])


def start(session: Session, held: list[Claimed], _worker: uuid.UUID) -> Any:
    return leases.start(session, held)


def store_logs(session: Session, held: list[Claimed], _worker: uuid.UUID) -> Any:
    written = [
        Written(job.id, job.epoch, f"storage://job_logs/{job.id}", 1, 1, 1.0, 0) for job in held
    ]
    return settle(session, written)


def terminate(_session: Session, _held: list[Claimed], worker: uuid.UUID) -> Any:
    return workers.terminate(worker, **WHO)


@pytest.mark.parametrize("do", [renew, start, store_logs, terminate])
def test_leases_are_locked_in_the_order_of_their_jobs(
    jobs: Jobs, session: Session, do: Callable[..., Any]
) -> None:
    """By threads of one worker, each on a connection of its own, and by whoever ends it."""
    worker = make_worker(jobs, "BUSY")
    held = hold(jobs, session, worker)
    first = held[-1].id

    with made_to_wait(
        f"{LEASES} WHERE job_id = %s FOR UPDATE",
        lambda: do(session, held, worker),
        parameters=[first],
    ) as done:
        assert set(unlocked(LEASES)) == {job.id for job in held} - {first}

    assert not isinstance(done[0], Exception)


class TestWorkersThatEnd:
    def test_whoever_finds_them_silent_waits_for_no_lease(
        self, jobs: Jobs, session: Session
    ) -> None:
        """One that comes back at this moment renews them, and may hold others of them."""
        worker = make_worker(jobs, "BUSY")
        held = [job.id for job in hold(jobs, session, worker)]
        silence(jobs, worker, 9_999)
        with transaction.atomic():
            Lease.objects.select_for_update().get(pk=held[2])

            found = find_silent()

        assert [row[0] for row in found] == [worker]
        assert state_of(jobs, worker) == "TERMINATED"
        expired = jobs.rows(f"{LEASES} WHERE expires_at < now()")
        assert {row[0] for row in expired} == {*held} - {held[2]}
        # It runs out by itself, since nobody renews it.
        jobs.execute("UPDATE job_leases SET expires_at = now() - interval '1 s'")
        assert len(leases.rescue(session)) == 5

    def test_of_two_that_end_each_takes_its_own_jobs(self, jobs: Jobs, session: Session) -> None:
        """A machine with several workers goes down: a runner ends one after the other in a
        transaction, and a worker elsewhere finds them silent."""
        one, other = make_worker(jobs, "BUSY"), make_worker(jobs, "BUSY")
        hold(jobs, session, one)
        hold(jobs, session, other)
        silence(jobs, one, 9_999)
        silence(jobs, other, 9_999)
        jobs.execute("UPDATE job_leases SET expires_at = now() - interval '1 s'")

        with transaction.atomic():
            assert workers.lose_worker(one, **WHO) == 5
            (found,) = at_once(find_silent)
            assert [row[0] for row in found] == [other]
            with pytest.raises(WorkerStateConflict):
                workers.lose_worker(other, **WHO)

        assert len(leases.rescue(session)) == 5
        assert jobs.value("SELECT count(*) FROM job_queue") == 10


class TestDelete:
    def test_a_job_that_gets_a_place_meanwhile_is_not_waited_for(self, jobs: Jobs) -> None:
        """Somebody lets it run as it is deleted, and a worker takes it at once."""
        job = jobs.enqueue()
        jobs.execute("DELETE FROM job_queue")

        def delete() -> Any:
            return lifecycle.delete(job, **WHO)

        def claim() -> Any:
            with connect("default", "worker") as own:
                own.execute("INSERT INTO job_queue (job_id) VALUES (%s)", [job])
                return leases.claim(own, uuid.uuid4(), ["default"], 1, starting=1)

        with made_to_wait(
            "SELECT FROM jobs WHERE id = %s FOR NO KEY UPDATE", delete, claim, parameters=[job]
        ) as found:
            assert unlocked("SELECT job_id FROM job_queue") == []

        deleted, claimed = found
        assert isinstance(deleted, JobStateConflict)
        assert "try again" in str(deleted)
        assert [one.id for one in claimed] == [job]


def test_a_job_is_leased_to_a_worker_without_waiting(jobs: Jobs) -> None:
    """Whoever deletes it takes it from the worker that has it noted still, perhaps this one."""
    worker = make_worker(jobs, "READY")
    job = jobs.enqueue(orchestrated=True)
    with transaction.atomic():
        jobs.execute("SELECT FROM jobs WHERE id = %s FOR UPDATE", [job])

        assert at_once(lambda: orchestration.assign(job, actor="me")) == [None]
        assert unlocked("SELECT id FROM workers") == [worker]

    assigned = orchestration.assign(job, actor="me")
    assert assigned is not None
    assert assigned.worker_id == worker


def test_a_purge_leaves_notes_of_files_to_another_that_is_at_it(
    jobs: Jobs, log_folder: Any
) -> None:
    jobs.execute(
        "INSERT INTO job_log_garbage (storage_uri) "
        "SELECT 'storage://job_logs/none/' || n FROM generate_series(1, 3) AS s (n)"
    )
    with transaction.atomic():
        jobs.execute("DELETE FROM job_log_garbage WHERE id = (SELECT max(id) FROM job_log_garbage)")

        (purged,) = at_once(logs.purge_logs)

        assert purged.files == 3
        assert unlocked("SELECT id FROM job_log_garbage") == []

    assert jobs.value("SELECT count(*) FROM job_log_garbage") == 0


def find_silent() -> list[tuple[Any, ...]]:
    asked = {"silence": 30.0, "making": 600.0, "uptime": -1.0, "number": 9}
    with connect("default", "another") as own:
        return own.execute(statement("jobs", "lose_workers"), asked).fetchall()
