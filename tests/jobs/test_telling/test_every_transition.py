from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from hodei.sql import statement
from jobs import leases, ticker
from jobs.runs import Cancelled, Outcome, Snoozed, Succeeded, TimedOut
from jobs.services import lifecycle, providers, schedules, workers
from jobs.services.queue import enqueue_many
from jobs.services.requeue import RequeueFilter, requeue
from jobs.spec import NewJob
from jobs.states import Overlap, ProviderStatus
from tests.jobs.test_telling.kit import WHO, WORKER, Told, failed


@pytest.mark.django_db
class TestEveryTransition:
    """Each has one record and one event, of the same name and of the same payload."""

    def check(self, told: Told, *names: str) -> dict[str, Any]:
        assert told.audit() == told.events() == list(names)
        audited, published = told.payloads("audit_logs"), told.payloads("outbox_events")
        assert [{**one, "actor": ""} for one in audited] == [
            {**one, "actor": ""} for one in published
        ]
        return published[-1]

    def test_enqueued(self, told: Told, everything: None) -> None:
        job = told.enqueue(
            name="a.task", correlation_id="c1", trace_parent=f"00-{'1' * 32}-{'2' * 16}-01"
        )

        assert self.check(told, "JobEnqueued") == {
            "job_id": str(job),
            "name": "a.task",
            "state": "PENDING",
            "queue": "default",
            "priority": 0,
        }
        ((kind, about, lane, metadata),) = told.rows(
            "SELECT aggregate_type, aggregate_id, lane, metadata::text FROM outbox_events"
        )
        assert (kind, about, lane) == ("JOB", job, job.int & 63)
        assert json.loads(metadata) == {
            "correlation_id": "c1",
            "traceparent": f"00-{'1' * 32}-{'2' * 16}-01",
        }
        assert told.rows("SELECT correlation_id, actor FROM audit_logs") == [("c1", "system")]

    def test_a_known_key_is_none(self, told: Told, everything: None) -> None:
        told.enqueue(idempotency_key="k")
        told.enqueue(idempotency_key="k")
        enqueue_many([NewJob(spec={"test": {"do": "x"}}, idempotency_key="k")])

        self.check(told, "JobEnqueued")

    @pytest.mark.parametrize("number", [3, 2_500])
    def test_many(self, told: Told, everything: None, number: int) -> None:
        """By arrays, and by COPY."""
        enqueue_many(NewJob(spec={"test": {"do": "x"}}, name=f"n{n}") for n in range(number))

        for table in ("audit_logs", "outbox_events"):
            assert told.rows(
                f"SELECT event_type, count(*), count(DISTINCT payload ->> 'name') FROM {table} "
                "GROUP BY 1"
            ) == [("JobEnqueued", number, number)]

    def test_promoted(self, told: Told, everything: None) -> None:
        job = told.enqueue(run_after=told.value("SELECT now() + interval '1 hour'"))
        told.execute("UPDATE job_queue_deferred SET run_after = now()")
        leases.promote(told.session)

        assert self.check(told, "JobEnqueued", "JobPromoted")["job_id"] == str(job)

    def test_claimed_and_begun(self, told: Told, everything: None) -> None:
        told.enqueue()
        told.enqueue()
        held = told.claim(starting=1)
        (begun,) = leases.start(told.session, held[1:])

        assert sorted(told.events()[:4]) == [
            *("JobAssigned", "JobEnqueued", "JobEnqueued", "JobStarted"),
        ]
        found = self.check(told, *told.events()[:4], "JobStarted")
        assert (found["state"], found["attempts"], found["worker_id"]) == (
            "RUNNING",
            1,
            str(WORKER),
        )
        assert found["job_id"] == str(begun.id)
        assert begun.started

    @pytest.mark.parametrize(
        ("outcome", "event", "facts"),
        [
            (Succeeded({"n": 1}), "JobSucceeded", {"state": "SUCCEEDED", "attempts": 1}),
            (
                *(failed(), "JobFailed"),
                {"state": "FAILED", "kind": "Unknown", "error": "no", "attempts": 1},
            ),
            (TimedOut("late", retryable=False), "JobTimedOut", {"kind": "ExecutionTimeout"}),
            (Cancelled(), "JobCancelled", {"state": "CANCELLED"}),
            (Snoozed(5.0), "JobReturned", {"state": "PENDING", "attempts": 0}),
            (failed(retryable=True), "JobRetryScheduled", {"state": "PENDING", "error": "no"}),
        ],
    )
    def test_ended(
        self, told: Told, everything: None, outcome: Outcome, event: str, facts: dict[str, Any]
    ) -> None:
        told.enqueue()
        told.end(outcome)

        found = self.check(told, "JobEnqueued", "JobStarted", event)
        assert {key: found.get(key) for key in facts} == facts
        assert ("run_after" in found) == (facts.get("state") == "PENDING")

    def test_a_stolen_lease_tells_nothing(self, told: Told, everything: None) -> None:
        told.enqueue()
        held = told.claim()
        told.lose()
        told.end(Succeeded(), jobs=held)

        self.check(told, "JobEnqueued", "JobStarted", "JobRescued")

    def test_given_up_after_five_lost_leases(self, told: Told, everything: None) -> None:
        told.enqueue()
        told.execute("UPDATE jobs SET lost_leases = 4")
        told.claim()
        told.lose()

        found = self.check(told, "JobEnqueued", "JobStarted", "JobFailed")
        assert (found["kind"], found["lost_leases"]) == ("InfrastructureError", 5)

    def test_what_people_do(self, told: Told, everything: None) -> None:
        job = told.enqueue()
        lifecycle.hold(job, **WHO)
        lifecycle.release(job, **WHO)
        told.end(failed())
        lifecycle.retry(job, **WHO)
        told.end(failed())
        lifecycle.retry(job, **WHO)
        lifecycle.cancel(job, **WHO)
        lifecycle.delete(job, **WHO)

        found = self.check(
            told,
            *("JobEnqueued", "JobHeld", "JobReleased", "JobStarted", "JobFailed", "JobRetried"),
            *("JobStarted", "JobFailed", "JobRetried", "JobCancelled", "JobDeleted"),
        )
        assert (found["actor"], found["reason"]) == ("ada", "as agreed")

    def test_what_people_do_is_part_of_the_job_s_trace(self, told: Told, everything: None) -> None:
        trace = f"00-{'1' * 32}-{'2' * 16}-01"
        job = told.enqueue(correlation_id="c1", trace_parent=trace)
        lifecycle.hold(job, **WHO)
        lifecycle.release(job, **WHO)
        told.end(failed())
        requeue(RequeueFilter(), limit=1, **WHO)
        lifecycle.cancel(job, **WHO)

        found = told.rows("SELECT event_type, metadata::text FROM outbox_events ORDER BY seq")
        assert [event for event, _ in found][-2:] == ["JobRetried", "JobCancelled"]
        expected = {"correlation_id": "c1", "traceparent": trace}
        assert [json.loads(metadata) for _, metadata in found] == [expected] * len(found)

    def test_replaced_by_its_schedule(self, told: Told, everything: None) -> None:
        schedules.add(
            "s",
            cron="0 0 1 1 *",  # so that no time of its own comes meanwhile
            spec={"test": {"do": "x"}},
            options={"correlation_id": "c1"},
            overlap=Overlap.REPLACE,
            actor="ada",
        )
        for _ in range(2):
            told.execute(
                "UPDATE job_schedules SET next_run_at = now() - interval '1 second', "
                "last_run_at = NULL, updated_at = now()"
            )
            told.execute("UPDATE jobs SET idempotency_key = NULL")
            ticker._run(
                told.session,
                told.rows(statement("jobs", "due_schedules"), {"number": 1, "seen": []})[0],
            )

        assert told.events() == ["JobEnqueued", "JobCancelled", "JobEnqueued"]
        assert told.audit() == ["ScheduleAdded", *told.events()]
        assert told.rows(
            "SELECT correlation_id FROM audit_logs WHERE event_type = 'JobCancelled'"
        ) == [("c1",)]

    def test_of_workers_and_providers(self, told: Told, everything: None) -> None:
        provider = uuid.uuid4()
        providers.save(provider, name="p", provider_type="test", actor="ada")
        providers.set_status(provider, ProviderStatus.MAINTENANCE, **WHO)
        providers.set_status(provider, ProviderStatus.ACTIVE, **WHO)
        worker, lost = uuid.uuid4(), workers.register_local(resource_id="host-1")
        local = told.value("SELECT id FROM provider_configs WHERE name = 'local'")
        workers.create(worker, provider_id=provider, resource_id="r", actor="ada")
        told.execute("UPDATE workers SET state = 'CONNECTING' WHERE id = %s", [worker])
        assert workers.heartbeat(worker) == "READY"
        workers.heartbeat(worker)
        job = told.enqueue()
        workers.assign(worker, job)
        workers.release(worker)
        workers.drain(worker, **WHO)
        workers.terminate(worker, **WHO)
        told.execute("UPDATE workers SET last_heartbeat = now() - interval '1 day'")
        workers.lose_worker(lost, reason="gone")

        self.check(
            told,
            *("ProviderSaved", "ProviderStatusChanged", "ProviderStatusChanged"),
            *("ProviderSaved", "WorkerRegistered", "WorkerCreated", "WorkerStateChanged"),
            "JobEnqueued",
            *("WorkerStateChanged", "WorkerStateChanged", "WorkerStateChanged"),
            *("WorkerTerminated", "WorkerLost"),
        )
        assert told.rows(
            "SELECT DISTINCT aggregate_type, aggregate_id FROM outbox_events ORDER BY 1, 2"
        ) == [
            ("JOB", job),
            *(("PROVIDER", one) for one in sorted([local, provider])),
            *(("WORKER", one) for one in sorted([worker, lost])),
        ]
