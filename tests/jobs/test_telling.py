"""What is on record of transitions, as audit and as events, by each setting; and that it is there
or not as the change is."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import closing
from random import Random
from typing import Any

import psycopg
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction

from hodei.polling import Bell
from hodei.sessions import connect
from hodei.sql import statement
from jobs import checks, leases, retry, telling, ticker
from jobs.conf import wanted
from jobs.events import ALL, FINAL, IMPORTANT, JobEvent
from jobs.rescuer import Rescuer
from jobs.runs import Cancelled, Claimed, Failed, Outcome, Snoozed, Succeeded, TimedOut
from jobs.services import lifecycle, providers, schedules, workers
from jobs.services.queue import enqueue, enqueue_many
from jobs.spec import JobInvalid, NewJob
from jobs.states import FailureKind, JobState, Overlap, ProviderStatus
from jobs.testing import _OnDjangosConnection
from outbox import wakeup
from outbox.testing import run_relay
from tests.jobs.conftest import Jobs

WHO: dict[str, Any] = {"reason": "as agreed", "actor": "ada"}
WORKER = uuid.UUID(int=7)
CONSOLE = {"PUBLISHER": "outbox.publishers.console.ConsolePublisher"}
SECRETS = ("hunter2", "s3cr3t", "tok-123456789")


class Told(Jobs):
    """The tables within one transaction, and what a worker does there."""

    def __init__(self) -> None:
        self.session: Any = _OnDjangosConnection("default")

    def claim(self, *, starting: int = 1, number: int = 10) -> list[Claimed]:
        return leases.claim(self.session, WORKER, ["default"], number, starting=starting)

    def end(self, *outcomes: Outcome, jobs: list[Claimed] | None = None) -> None:
        """Let the claimed jobs end so."""
        held = self.claim(starting=len(outcomes)) if jobs is None else jobs
        leases.finish(
            self.session,
            [
                retry.end(job, outcome, rng=Random(1))
                for job, outcome in zip(held, outcomes, strict=True)
            ],
        )

    def lose(self) -> None:
        self.execute("UPDATE job_leases SET expires_at = now() - interval '1 minute'")
        leases.rescue(self.session)

    def audit(self) -> list[str]:
        return [
            row[0]
            for row in self.rows("SELECT event_type FROM audit_logs ORDER BY occurred_at, id")
        ]

    def events(self) -> list[str]:
        return [row[0] for row in self.rows("SELECT event_type FROM outbox_events ORDER BY seq")]

    def payloads(self, table: str) -> list[dict[str, Any]]:
        order = "seq" if table == "outbox_events" else "occurred_at, id"
        found = self.rows(f"SELECT payload::text FROM {table} ORDER BY {order}")
        return [json.loads(row[0]) for row in found]


@pytest.fixture
def told(jobs: Jobs) -> Told:
    return Told()


@pytest.fixture
def everything(settings: Any) -> None:
    settings.JOBS_AUDIT = settings.JOBS_EVENTS = "all"


@pytest.fixture
def committed(jobs: Jobs) -> Iterator[Jobs]:
    """The same for tests that commit, with an empty outbox."""
    jobs.execute("TRUNCATE outbox_events, outbox_lanes, outbox_relays")
    try:
        yield jobs
    finally:
        jobs.execute("TRUNCATE outbox_events, outbox_lanes, outbox_relays")


def failed(retryable: bool = False, message: str = "no") -> Failed:
    return Failed(FailureKind.UNKNOWN, message, retryable=retryable, retry_in=60.0)


class TestSettings:
    def test_by_default_the_audit_has_what_is_important_and_nothing_is_an_event(
        self, settings: Any
    ) -> None:
        del settings.HODEI_OUTBOX
        assert (wanted().audit, wanted().events) == (IMPORTANT, frozenset())

    @pytest.mark.parametrize(
        ("audit", "events", "expected"),
        [
            ("important", None, FINAL),
            ("all", None, ALL),
            ("all", "final", FINAL),
            ("all", "none", frozenset()),
            ("important", "all", ALL),
        ],
    )
    def test_events_begin_when_a_publisher_is_configured(
        self, settings: Any, audit: str, events: str | None, expected: frozenset[str]
    ) -> None:
        settings.JOBS_AUDIT, settings.JOBS_EVENTS = audit, events
        settings.HODEI_OUTBOX = {"DESTINATIONS": {"default": CONSOLE}}

        assert wanted().events == expected

    @pytest.mark.parametrize("name", ["JOBS_AUDIT", "JOBS_EVENTS"])
    @pytest.mark.parametrize("value", ["some", True, ["all"], ""])
    def test_a_value_that_cannot_be(self, settings: Any, name: str, value: Any) -> None:
        setattr(settings, name, value)

        with pytest.raises(ImproperlyConfigured, match=f"{name} is .*; it is '"):
            wanted()
        (message,) = checks.check_record()
        assert message.id == "jobs.E030"

    def test_an_outbox_that_does_not_know_jobs(self, settings: Any) -> None:
        settings.JOBS_EVENTS = "final"
        settings.HODEI_OUTBOX = {"AGGREGATE_TYPES": ["ORDER", "WORKER", "PROVIDER"]}

        with pytest.raises(ImproperlyConfigured, match=r"has no JOB\. Add them"):
            wanted()

    def test_without_the_outbox(self, settings: Any) -> None:
        settings.INSTALLED_APPS = [
            one for one in settings.INSTALLED_APPS if one not in {"outbox", "sagas"}
        ]
        assert wanted().events == frozenset()

        settings.JOBS_EVENTS = "final"
        with pytest.raises(ImproperlyConfigured, match="outbox, which stores events, is not"):
            wanted()


class TestTexts:
    @pytest.mark.parametrize("name", sorted(telling.TELLS))
    def test_who_wants_nothing_pays_nothing(self, name: str, settings: Any) -> None:
        settings.JOBS_EVENTS = "none"
        plain = telling.text(name, frozenset())

        assert "audit_logs" not in plain
        assert "outbox" not in plain
        assert "told" not in plain
        if name not in {"finish", "rescue"}:
            assert telling.text(name) == plain

    def test_a_batch_that_ended_well_is_written_without_the_audit(self, settings: Any) -> None:
        settings.JOBS_EVENTS = "none"

        assert "audit_logs" in telling.text("finish")
        assert "audit_logs" not in telling.text("finish", telling.UNEVENTFUL)

    def test_one_is_made_once(self, settings: Any) -> None:
        assert telling.text("claim") is telling.text("claim")

    def test_destinations_are_by_the_routes(self, settings: Any) -> None:
        odd = "o'd%d"
        settings.JOBS_EVENTS = "all"
        settings.HODEI_OUTBOX = {
            "DESTINATIONS": {"default": CONSOLE, odd: CONSOLE},
            "ROUTES": {"JobFailed": odd},
        }

        assert "CASE event" in telling.text("finish")
        assert telling.destination("JobFailed") == odd
        assert telling.destination("JobStarted") == "default"


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

    def test_replaced_by_its_schedule(self, told: Told, everything: None) -> None:
        schedules.add(
            "s", cron="* * * * *", spec={"test": {"do": "x"}}, overlap=Overlap.REPLACE, actor="ada"
        )
        for _ in range(2):
            told.execute(
                "UPDATE job_schedules SET next_run_at = now() - interval '1 second', "
                "last_run_at = NULL, updated_at = now()"
            )
            told.execute("UPDATE jobs SET idempotency_key = NULL")
            ticker._run(
                told.session,
                told.rows(statement("jobs", "due_schedules"), {"number": 1})[0],
            )

        assert told.events() == ["JobEnqueued", "JobCancelled", "JobEnqueued"]
        assert told.audit() == ["ScheduleAdded", *told.events()]

    def test_of_workers_and_providers(self, told: Told, everything: None) -> None:
        provider = uuid.uuid4()
        providers.save(provider, name="p", provider_type="test", actor="ada")
        providers.set_status(provider, ProviderStatus.MAINTENANCE, **WHO)
        providers.set_status(provider, ProviderStatus.ACTIVE, **WHO)
        worker, lost = uuid.uuid4(), workers.register_local(resource_id="host-1")
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
            *("WorkerRegistered", "WorkerCreated", "WorkerStateChanged", "JobEnqueued"),
            *("WorkerStateChanged", "WorkerStateChanged", "WorkerStateChanged"),
            *("WorkerTerminated", "WorkerLost"),
        )
        assert told.rows(
            "SELECT DISTINCT aggregate_type, aggregate_id FROM outbox_events ORDER BY 1, 2"
        ) == [
            ("JOB", job),
            ("PROVIDER", provider),
            *(("WORKER", one) for one in sorted([worker, lost])),
        ]


@pytest.mark.django_db
class TestFinalOnly:
    def test_ends_are_events_and_the_rest_is_not(self, told: Told, settings: Any) -> None:
        settings.HODEI_OUTBOX = {"DESTINATIONS": {"default": CONSOLE}}
        for _ in range(4):
            told.enqueue()
        told.end(Succeeded(), failed(), TimedOut("late", retryable=False), Snoozed(9.0))
        lifecycle.cancel(told.enqueue(), **WHO)

        ends = ["JobCancelled", "JobFailed", "JobSucceeded", "JobTimedOut"]
        assert sorted(told.events()) == ends
        assert sorted(told.audit()) == [one for one in ends if one != "JobSucceeded"]

    def test_defect_3_5_without_events_failures_and_cancellations_are_on_record(
        self, told: Told, settings: Any
    ) -> None:
        for _ in range(4):
            told.enqueue()
        told.end(Succeeded(), failed(), Cancelled(), failed(retryable=True))

        assert told.events() == []
        assert sorted(told.audit()) == ["JobCancelled", "JobFailed"]

    def test_so_are_the_jobs_that_were_given_up(self, told: Told) -> None:
        told.enqueue()
        told.execute("UPDATE jobs SET lost_leases = 4")
        told.claim()
        told.lose()

        assert told.audit() == ["JobFailed"]


@pytest.mark.django_db
class TestSecrets:
    def test_they_are_in_no_record_and_in_no_event(self, told: Told, everything: None) -> None:
        spec = {"test": {"do": "x", "password": SECRETS[0], "env": {"API_KEY": SECRETS[1]}}}
        named = "postgresql://me:hunter2@host/db"
        job = enqueue(spec=spec, name=named, metadata={"token": SECRETS[2]}).id
        enqueue_many([NewJob(spec=spec, name=f"Bearer {SECRETS[2]}")])
        told.end(
            failed(message=f"could not reach {named} with password={SECRETS[1]}"),
            Succeeded({"token": SECRETS[2], "text": f"Bearer {SECRETS[2]}"}),
        )
        lifecycle.retry(job, reason=f"again, with password={SECRETS[1]}", actor=named)
        told.end(failed(retryable=True, message=f"Authorization: Bearer {SECRETS[2]}"))

        for table in ("audit_logs", "outbox_events"):
            text = " ".join(row[0] for row in told.rows(f"SELECT {table}::text FROM {table}"))
            assert "JobFailed" in text
            assert "[redacted]" in text
            assert [secret for secret in SECRETS if secret in text] == [], table


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
        assert list(by_job.values()) == [
            ["WorkerRegistered", "WorkerStateChanged", "WorkerTerminated"]
        ]

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


@pytest.mark.django_db
class TestRelayWasNeverSeen:
    def test_w030(self, told: Told, settings: Any) -> None:
        settings.HODEI_OUTBOX = {
            "DESTINATIONS": {"default": CONSOLE, "billing": CONSOLE},
            "ROUTES": {"JobFailed": "billing"},
        }

        found = checks.check_relay(databases=["default"])

        assert [message.id for message in found] == ["jobs.W030"] * 2
        assert "destination 'billing', and no relay of it was ever seen" in found[0].msg
        assert "manage.py outbox_relay" in str(found[0].hint)
        told.execute("INSERT INTO outbox_lanes (destination, lane) VALUES ('billing', 0)")
        (left,) = checks.check_relay(databases=["default"])
        assert "'default'" in left.msg
        settings.JOBS_EVENTS = "none"
        assert checks.check_relay(databases=["default"]) == []

    def test_it_asks_no_database_that_was_not_named(self, settings: Any) -> None:
        settings.JOBS_EVENTS = "final"

        assert checks.check_relay() == []
        assert checks.check_relay(databases=["other"]) == []


def test_every_state_has_its_word() -> None:
    """A state that is added is told of, or this fails."""
    words = {
        JobState.CREATED: None,  # never written
        JobState.SCHEDULED: None,
        JobState.PENDING: JobEvent.ENQUEUED,
        JobState.ASSIGNED: JobEvent.ASSIGNED,
        JobState.RUNNING: JobEvent.STARTED,
        JobState.SUCCEEDED: JobEvent.SUCCEEDED,
        JobState.FAILED: JobEvent.FAILED,
        JobState.CANCELLED: JobEvent.CANCELLED,
        JobState.TIMEOUT: JobEvent.TIMED_OUT,
        JobState.MANUAL_INTERVENTION_REQUIRED: JobEvent.HELD,
    }
    assert set(words) == set(JobState)
