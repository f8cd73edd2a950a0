"""Defects of the original (ORIGINAL 3.1, 3.2) and pitfalls of other queues that have no better
place. The others are named in the files of what they are about: ``grep -r "def test_defect"``."""

from __future__ import annotations

import uuid
from contextlib import closing
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from hodei.polling import Bell
from hodei.sessions import connect
from jobs import leases
from jobs.services import inspection, lifecycle, workers
from jobs.services.queue import enqueue, enqueue_many
from jobs.spec import NewJob
from jobs.wakeup import CHANNEL, GATE
from tests.jobs import executors
from tests.jobs.conftest import Jobs
from tests.jobs.kit import running
from tests.processes import eventually

SPEC = {"test": {"do": "succeed"}}
HOT = ("jobs", "job_queue", "job_queue_deferred", "job_leases")


class TestOriginal:
    def test_defect_3_1_three_attempts_are_three_runs(self, jobs: Jobs) -> None:
        """There a retry cost two; and nothing was tried again by itself."""
        job = jobs.enqueue(7, "fail", retry_in=0.0, max_attempts=3)

        assert jobs.drain() == [7, 7, 7]

        assert jobs.rows("SELECT state, attempts FROM jobs") == [("FAILED", 3)]
        lifecycle.retry(job, reason="once more", actor="ada")
        assert jobs.drain() == [7]
        assert jobs.rows("SELECT state, attempts, max_attempts FROM jobs") == [("FAILED", 4, 4)]

    @pytest.mark.django_db
    def test_defect_3_1_priority_is_in_the_queue(self, jobs: Jobs) -> None:
        jobs.enqueue(priority=70)
        enqueue_many([NewJob(spec=SPEC, priority=-70)])

        assert jobs.rows("SELECT priority FROM job_queue ORDER BY id") == [(70,), (-70,)]

    @pytest.mark.django_db
    def test_defect_3_1_a_state_that_nobody_knows_is_refused(self, jobs: Jobs) -> None:
        """There it was read as FAILED."""
        jobs.enqueue()
        with pytest.raises(IntegrityError, match="jobs_state_check"), transaction.atomic():
            jobs.execute("UPDATE jobs SET state = 'QUEUED'")

    @pytest.mark.django_db
    def test_defect_3_1_a_cancelled_job_leaves_the_queue(self, jobs: Jobs) -> None:
        soon = jobs.enqueue()
        later = jobs.enqueue(run_after=jobs.value("SELECT now() + interval '1 hour'"))
        for job in (soon, later):
            lifecycle.cancel(job, reason="enough", actor="ada")

        assert jobs.place(soon) == jobs.place(later) == []

    @pytest.mark.django_db
    def test_defect_3_2_enqueueing_again_changes_no_job(self, jobs: Jobs) -> None:
        """There it forced a job to PENDING, one that ran, too."""
        job = jobs.enqueue(idempotency_key="k")
        jobs.execute("UPDATE jobs SET state = 'RUNNING'")
        jobs.execute("DELETE FROM job_queue")

        again = enqueue(spec=SPEC, idempotency_key="k")

        assert (again.id, again.is_new) == (job, False)
        assert (jobs.state(job), jobs.place(job)) == ("RUNNING", [])

    def test_defect_3_2_a_worker_that_dies_keeps_no_job(self, jobs: Jobs) -> None:
        """There was no lease, so a job that was assigned stayed so."""
        job = jobs.enqueue()
        with connect("default", "test") as session:
            leases.claim(session, uuid.uuid4(), ["default"], 1, starting=0)
        assert jobs.state(job) == "ASSIGNED"
        jobs.execute("UPDATE job_leases SET expires_at = now() - interval '1 second'")

        jobs.drain()

        assert jobs.state(job) == "SUCCEEDED"


class TestPitfalls:
    def test_pitfall_3_one_fetcher_claims_for_all_slots(
        self, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        batches: list[int] = []
        claim = leases.claim

        def counting(*args: Any, **options: Any) -> list[Any]:
            found = claim(*args, **options)
            batches.append(len(found))
            return found

        monkeypatch.setattr("jobs.worker.leases.claim", counting)
        enqueue_many(NewJob(spec={"test": {"do": "wait"}}) for _ in range(300))
        worker = jobs.worker(concurrency=8)
        with running(worker):
            assert executors.began.wait(20)
            sessions = (
                "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE %s "
                "AND datname = current_database()"
            )
            for name in ("hodei jobs fetcher", "hodei jobs finisher"):
                assert eventually(lambda name=name: jobs.value(sessions, [f"{name}%"]) == 1)
            jobs.execute("DELETE FROM job_queue")
            worker.stop_now()

        assert batches[0] > 8

    def test_pitfall_4_only_who_sleeps_is_notified(self, jobs: Jobs) -> None:
        with closing(connect("default", "test of a worker")) as session:
            bell = Bell(session, channel=CHANNEL, gate=GATE, listens=True)
            jobs.enqueue()
            enqueue_many([NewJob(spec=SPEC)])
            bell.close_gates([jobs.value("SELECT hashtext('default')")])
            jobs.enqueue()

            # They come in the order of their commits.
            assert bell.wait(20.0)
            assert not bell.wait(0.0)

    @pytest.mark.parametrize("told", ["none", "all"])
    def test_pitfall_4_nor_for_what_is_in_no_queue_or_another_one(
        self, jobs: Jobs, settings: Any, told: str
    ) -> None:
        settings.JOBS_EVENTS = told
        jobs.enqueue(idempotency_key="known")
        with closing(connect("default", "test of a worker")) as session:
            Bell(session, channel=CHANNEL, gate=GATE, listens=True).close_gates(
                [jobs.value("SELECT hashtext('default')")]
            )
            jobs.enqueue(idempotency_key="known")
            jobs.enqueue(queue="other")
            jobs.enqueue(run_after=jobs.value("SELECT now() + interval '1 hour'"))
            jobs.enqueue(orchestrated=True)
            jobs.execute(f"NOTIFY {CHANNEL}, 'none until here'")
            jobs.enqueue(run_after=jobs.value("SELECT now()"))

            payloads = [one.payload for one in session.notifies(timeout=20.0, stop_after=2)]
            assert payloads == ["none until here", ""]

    @pytest.mark.django_db
    def test_pitfall_5_no_trigger_runs_and_a_lease_has_no_foreign_key(self, jobs: Jobs) -> None:
        triggers = (
            "SELECT tgname FROM pg_trigger WHERE tgrelid = ANY(%s::regclass[]) AND NOT tgisinternal"
        )
        assert jobs.rows(triggers, [list(HOT)]) == []
        keys = "SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'f'"
        assert jobs.rows(keys, ["job_leases"]) == []

    @pytest.mark.django_db
    def test_pitfall_7_a_heartbeat_touches_the_worker_alone(self, jobs: Jobs) -> None:
        """And no index: its row stays within its page."""
        worker = workers.register_local(resource_id="host-1")
        jobs.enqueue()
        written = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relname = %s"
        before = {table: jobs.rows(written, [table])[0] for table in ("workers", "jobs")}

        workers.heartbeat(worker)

        updates, hot = jobs.rows(written, ["workers"])[0]
        assert (updates - before["workers"][0], hot - before["workers"][1]) == (1, 1)
        assert jobs.rows(written, ["jobs"])[0] == before["jobs"]

    @pytest.mark.django_db
    def test_pitfall_10_counts_end_somewhere(
        self, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        enqueue_many(NewJob(spec=SPEC) for _ in range(9))
        jobs.execute("UPDATE jobs SET state = 'FAILED'")
        monkeypatch.setattr(inspection, "MOST_COUNTED", 3)

        found = inspection.statistics()

        assert (found.queues[0].ready, found.failed) == (3, 3)
