from __future__ import annotations

import time
import uuid
from random import Random

import pytest

from hodei.sessions import connect
from jobs import leases
from jobs.rescuer import LOOK_SECONDS, RESCUE, Rescuer
from jobs.services import lifecycle, workers
from jobs.services.workers import WorkerStateConflict
from tests.jobs.conftest import Jobs
from tests.jobs.test_workers.kit import WHO, Session, events, make_worker, silence, state_of


class TestRescuer:
    @pytest.fixture(autouse=True)
    def server(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As if it had been started long ago; that of the tests has not."""
        monkeypatch.setattr("jobs.rescuer.UPTIME_SECONDS", -1.0)

    def look(self, session: Session) -> None:
        rescuer = Rescuer(uuid.uuid4())
        rescuer._rescue_at = 0.0
        rescuer.look(session)

    def test_looks_are_in_no_step_with_those_of_others(self, jobs: Jobs, session: Session) -> None:
        """Workers that were started together would ask together for ever."""
        pauses = []
        for seed in range(9):
            rescuer = Rescuer(uuid.uuid4(), Random(seed))
            rescuer.look(session)
            pauses.append(round(rescuer.until_due(), 2))

        assert len(set(pauses)) > 4
        assert all(1.2 < pause <= LOOK_SECONDS for pause in pauses)

    def test_a_silent_worker_is_lost_with_its_jobs(self, jobs: Jobs, session: Session) -> None:
        worker, alive = make_worker(jobs, "BUSY"), make_worker(jobs, "BUSY")
        job = jobs.enqueue(1)
        leases.claim(session, worker, ["default"], 1, starting=1)
        self.look(session)
        assert state_of(jobs, worker) == "BUSY"
        silence(jobs, worker)

        self.look(session)

        assert (state_of(jobs, worker), state_of(jobs, alive)) == ("TERMINATED", "BUSY")
        assert jobs.place(job) == ["job_queue"]
        assert jobs.rows(
            "SELECT payload ->> 'worker_id', payload -> 'jobs', actor FROM audit_logs "
            "WHERE event_type = 'WorkerLost'"
        ) == [(str(worker), "1", "system")]

    def test_after_a_start_of_the_server_workers_have_time_to_come_back(
        self, jobs: Jobs, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("jobs.rescuer.UPTIME_SECONDS", 10.0**8)
        worker = make_worker(jobs, "READY")
        silence(jobs, worker)

        self.look(session)

        assert state_of(jobs, worker) == "READY"

    def test_after_a_lost_connection_others_have_time_to_come_back(
        self, jobs: Jobs, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        worker = make_worker(jobs, "BUSY")
        job = jobs.enqueue(1)
        leases.claim(session, worker, ["default"], 1, starting=1)
        rescuer = Rescuer(uuid.uuid4())
        rescuer.look(session)
        silence(jobs, worker)
        jobs.execute("UPDATE job_leases SET expires_at = now() - interval '1 s'")
        with connect("default", "again") as again:
            rescuer._rescue_at = 0.0
            rescuer.look(again)
            assert jobs.place(job) == ["job_leases"]
            # Its job does not wait for long: the lease ran out, and was not renewed.
            assert rescuer._rescue_at < time.monotonic() + 5
            rescuer._look_at = rescuer._rescue_at = 0.0
            rescuer.look(again)
            assert state_of(jobs, worker) == "BUSY"
            assert jobs.place(job) == ["job_queue"]
            rescuer._look_at = rescuer._trusts_at = rescuer._rescue_at = 0.0
            rescuer.look(again)

        assert state_of(jobs, worker) == "TERMINATED"

    @pytest.mark.parametrize(
        ("state", "seconds", "lost"),
        [("CONNECTING", 31, True), ("READY", 29, False), ("READY", 31, True),
         ("CREATING", 31, False), ("CREATING", 601, True), ("FAILED", 601, False)],
    )  # fmt: skip
    def test_defect_3_3_without_a_heartbeat_it_counts_from_registration(
        self, jobs: Jobs, session: Session, state: str, seconds: int, lost: bool
    ) -> None:
        worker = make_worker(jobs, state)
        jobs.execute(
            "UPDATE workers SET last_heartbeat = NULL, created_at = now() - %s * interval '1 s'",
            [seconds],
        )

        self.look(session)

        assert state_of(jobs, worker) == ("TERMINATED" if lost else state)

    def test_defect_3_3_a_busy_worker_that_lives_is_never_ended(
        self, jobs: Jobs, session: Session
    ) -> None:
        worker = make_worker(jobs, "BUSY")
        jobs.execute("UPDATE workers SET created_at = now() - interval '30 days'")

        self.look(session)

        assert state_of(jobs, worker) == "BUSY"

    def test_defect_3_3_a_lost_worker_is_told_of_once(self, jobs: Jobs, session: Session) -> None:
        """There it was told of with each look, under another key each second."""
        silence(jobs, make_worker(jobs, "BUSY"))

        for _ in range(3):
            self.look(session)

        assert events(jobs).count("WorkerLost") == 1

    @pytest.mark.parametrize("state", ["READY", "DRAINING"])
    def test_defect_3_3_what_does_not_run_is_not_ended_for_that(
        self, jobs: Jobs, session: Session, state: str
    ) -> None:
        """There every READY worker was one to be ended."""
        worker = make_worker(jobs, state)
        jobs.execute("UPDATE workers SET created_at = now() - interval '30 days'")

        self.look(session)

        assert state_of(jobs, worker) == state

    def test_another_that_rescues_is_not_waited_for(self, jobs: Jobs, session: Session) -> None:
        worker = make_worker(jobs, "BUSY")
        silence(jobs, worker)
        with connect("default", "other") as other, other.transaction():
            other.execute("SELECT pg_advisory_xact_lock(%s, 0)", [RESCUE])
            self.look(session)
            assert state_of(jobs, worker) == "BUSY"

        self.look(session)
        assert state_of(jobs, worker) == "TERMINATED"


@pytest.mark.django_db
class TestOneWorkerPerJob:
    def test_defect_3_3_a_worker_has_one_job_and_outlives_it(self, jobs: Jobs) -> None:
        """There it was ended with its job, and whoever assigned one asked for no state."""
        worker = make_worker(jobs)
        workers.assign(worker, jobs.enqueue(1))
        assert state_of(jobs, worker) == "BUSY"
        with pytest.raises(WorkerStateConflict):
            workers.assign(worker, jobs.enqueue(2))

        workers.release(worker)
        assert state_of(jobs, worker) == "READY"
        with pytest.raises(WorkerStateConflict):
            workers.release(worker)

    def test_its_job_outlives_nobody(self, jobs: Jobs) -> None:
        worker, job = make_worker(jobs), jobs.enqueue(1)
        workers.assign(worker, job)
        lifecycle.cancel(job, **WHO)
        lifecycle.delete(job, **WHO)

        assert jobs.rows("SELECT state, current_job_id FROM workers") == [("BUSY", None)]
