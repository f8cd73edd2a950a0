from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import closing
from random import Random
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction

from hodei.polling import Bell
from hodei.sessions import connect
from jobs import leases, registration, retry, telling
from jobs.current import Current
from jobs.rescuer import Rescuer
from jobs.runs import Succeeded
from jobs.services import lifecycle, workers
from jobs.services.queue import enqueue_many
from jobs.spec import JobInvalid, NewJob
from outbox import wakeup
from outbox.testing import run_relay
from tests.jobs.conftest import Jobs
from tests.jobs.test_telling.kit import WHO, WORKER
from tests.processes import eventually
from tests.tables import empty


@pytest.fixture
def committed(jobs: Jobs) -> Iterator[Jobs]:
    """The same for tests that commit, with an empty outbox."""
    tables = "outbox_events, outbox_lanes, outbox_relays"
    empty(tables)
    try:
        yield jobs
    finally:
        empty(tables)


class TestTransactions:
    def test_defect_3_1_an_enqueue_that_is_rolled_back_leaves_nothing(
        self, committed: Jobs, everything: None
    ) -> None:
        later = committed.value("SELECT now() + interval '1 hour'")
        with transaction.atomic():
            committed.enqueue()
            committed.enqueue(run_after=later)
            enqueue_many(NewJob(spec={"test": {"do": "x"}}) for _ in range(2_500))
            assert committed.value("SELECT count(*) FROM outbox_events") == 2_502
            transaction.set_rollback(True)
        with pytest.raises(JobInvalid):
            enqueue_many(
                NewJob(spec={"test": {"do": "x"}}, priority=n // 2_500 * 1_000)
                for n in range(2_501)
            )

        tables = ("jobs", "job_queue", "job_queue_deferred", "outbox_events", "audit_logs")
        assert [committed.value(f"SELECT count(*) FROM {table}") for table in tables] == [0] * 5

    def test_a_decision_that_is_refused_tells_nothing(
        self, committed: Jobs, everything: None
    ) -> None:
        job = committed.enqueue()
        with pytest.raises(lifecycle.JobStateConflict):
            lifecycle.release(job, **WHO)

        assert committed.rows("SELECT event_type FROM outbox_events") == [("JobEnqueued",)]

    def test_a_worker_tells_all_of_its_jobs_in_order(
        self, committed: Jobs, everything: None
    ) -> None:
        jobs = [committed.enqueue(n) for n in range(3)]
        retried = committed.enqueue(3, "fail", retry_in=0.0, max_attempts=2)
        committed.drain()

        with transaction.atomic():
            delivered = run_relay()
            transaction.set_rollback(True)
        by_job: dict[Any, list[str]] = {}
        for event in delivered:
            by_job.setdefault(event.aggregate_id, []).append(event.event_type)
        for job in jobs:
            assert by_job.pop(job) in (
                ["JobEnqueued", "JobStarted", "JobSucceeded"],
                ["JobEnqueued", "JobAssigned", "JobStarted", "JobSucceeded"],
            )
        words = [word for word in by_job.pop(retried) if word != "JobAssigned"]
        assert words == [
            *("JobEnqueued", "JobStarted", "JobRetryScheduled", "JobStarted", "JobFailed"),
        ]
        ((of_provider), (first, *changes, last)) = by_job.values()
        assert of_provider == ["ProviderSaved"]
        assert (first, set(changes), last) == (
            *("WorkerRegistered", {"WorkerStateChanged"}, "WorkerTerminated"),
        )

    def test_a_worker_of_one_job_at_a_time_tells_when_it_is_busy(
        self, committed: Jobs, everything: None
    ) -> None:
        job, current = committed.enqueue(), Current(WORKER, threading.Event())
        with connect("default", "test") as session:
            registration.enter_local(session, WORKER, {})
            leases.claim(session, WORKER, ["default"], 1, starting=1)
            current.runs(job)
            current.write(session)
            assert eventually(lambda: current.until_due() == float("inf"))
            current.runs(None)
            assert eventually(lambda: current.until_due() == 0.0)
            current.write(session)

        about = "aggregate_type = 'WORKER' AND event_type = 'WorkerStateChanged'"
        told = committed.rows(
            f"SELECT payload ->> 'state', payload ->> 'actor' FROM outbox_events WHERE {about} "
            "ORDER BY seq"
        )
        assert told == [(state, f"worker {WORKER}") for state in ("BUSY", "READY")]
        assert committed.rows(
            "SELECT payload ->> 'state' FROM audit_logs WHERE event_type = 'WorkerStateChanged' "
            "ORDER BY occurred_at"
        ) == [("BUSY",), ("READY",)]

    def test_lost_workers(self, committed: Jobs, settings: Any) -> None:
        settings.JOBS_EVENTS = "final"
        worker = workers.register_local(resource_id="host-1")
        committed.execute("UPDATE workers SET last_heartbeat = now() - interval '1 day'")
        rescuer = Rescuer(uuid.uuid4(), at_once=True)
        with connect("default", "test") as session:
            committed.execute("SELECT 1")
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("jobs.rescuer.UPTIME_SECONDS", -1.0)
                rescuer._rescue(session)

        assert committed.rows("SELECT event_type, aggregate_id FROM outbox_events") == [
            ("WorkerLost", worker)
        ]
        assert ("WorkerLost",) in committed.rows("SELECT event_type FROM audit_logs")

    def test_completed_in_its_own_transaction(self, committed: Jobs, settings: Any) -> None:
        """Told once: where the job was completed, and not where the run returned."""
        settings.JOBS_EVENTS = "final"
        committed.enqueue()
        with connect("default", "test") as session:
            (job,) = leases.claim(session, WORKER, ["default"], 1, starting=1)
            parameters = {"id": job.id, "epoch": job.epoch, "result": None}
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(telling.text("complete"), parameters)
                assert committed.value("SELECT count(*) FROM outbox_events") == 1
                transaction.set_rollback(True)
            assert committed.value("SELECT count(*) FROM outbox_events") == 0
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(telling.text("complete"), parameters)
            leases.finish(session, [retry.end(job, Succeeded(), rng=Random(1))])

        assert committed.rows("SELECT event_type FROM outbox_events") == [("JobSucceeded",)]


class TestWakeUp:
    @pytest.fixture
    def bell(self, committed: Jobs) -> Iterator[Bell]:
        """As a relay that sleeps on every lane."""
        with closing(connect("default", "test of a relay")) as session:
            bell = Bell(session, channel=wakeup.CHANNEL, gate=wakeup.GATE, listens=True)
            bell.close_gates(range(64))
            yield bell

    def test_a_statement_of_a_worker_wakes_the_relay(
        self, committed: Jobs, settings: Any, bell: Bell, session: psycopg.Connection[Any]
    ) -> None:
        settings.JOBS_EVENTS = "final"
        committed.enqueue()
        held = leases.claim(session, WORKER, ["default"], 1, starting=1)
        assert not bell.wait(0.0)
        leases.finish(session, [retry.end(job, Succeeded(), rng=Random(1)) for job in held])

        assert bell.wait(20.0)

    def test_so_does_a_person(self, committed: Jobs, settings: Any, bell: Bell) -> None:
        settings.JOBS_EVENTS = "final"
        lifecycle.cancel(committed.enqueue(), **WHO)

        assert bell.wait(20.0)
