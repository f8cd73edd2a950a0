from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest
from django.apps import apps
from django.db.models import F, JSONField
from django.utils.module_loading import import_string

from hodei.compat import Task
from hodei.sample import SampleReport, load_sample
from jobs.models import DeferredEntry, Job, Lease, Provider, QueueEntry, Schedule, Worker
from jobs.states import JOB_FINAL, WORKER_FINAL, JobState, WorkerState
from jobs.testing import run_jobs
from outbox.models import DeadLetter, DeadLetterActionRecord, Event, TroubledKey
from sagas.models import Saga, SagaAuditEvent, SagaLock, SagaStep, SagaStepAttempt
from sagas.states import OUTCOME_STATES, SAGA_LIVE, SagaOutcome, StepState

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)


@pytest.fixture
def report() -> SampleReport:
    loaded = load_sample(now=NOW)
    assert loaded is not None
    return loaded


def rows_by_table() -> dict[str, int]:
    models = [
        model
        for app in ("jobs", "outbox", "sagas")
        for model in apps.get_app_config(app).get_models()
    ]
    counts = {model._meta.db_table: model._default_manager.count() for model in models}
    return {table: count for table, count in counts.items() if count}


class TestLoading:
    def test_report_counts_what_is_there(self, report: SampleReport) -> None:
        assert report.rows == rows_by_table()
        assert report.total == sum(report.rows.values())
        assert str(report).startswith(f"Sample of {report.total} rows loaded: provider_configs 5, ")
        assert "\n" not in str(report)

    def test_a_second_load_does_nothing(self, report: SampleReport) -> None:
        assert load_sample(now=NOW) is None
        assert rows_by_table() == report.rows

    @pytest.mark.parametrize("table", ["job", "event", "saga", "provider", "schedule"])
    def test_a_used_database_is_left_alone(self, table: str) -> None:
        if table == "job":
            Job.objects.create(spec={}, state="PENDING")
        elif table == "event":
            Event.objects.create(
                aggregate_id=Job().id, aggregate_type="JOB", event_type="X", payload={}
            )
        elif table == "saga":
            Saga.objects.create(saga_type="EXECUTION")
        elif table == "schedule":
            Schedule.objects.create(name="archive-logs", cron="0 3 * * *", spec={})
        else:
            Provider.objects.create(name="docker-local", provider_type="docker")
        before = rows_by_table()

        assert load_sample() is None
        assert rows_by_table() == before

    def test_a_failure_leaves_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*_: object) -> list[object]:
            raise RuntimeError("no sagas today")

        monkeypatch.setattr("hodei.sample.sample_sagas", broken)

        with pytest.raises(RuntimeError, match="no sagas today"):
            load_sample()

        assert rows_by_table() == {}

    def test_the_same_seed_gives_the_same_ids(self, report: SampleReport) -> None:
        def ids() -> list[object]:
            return [
                list(model.objects.order_by("pk").values_list("pk", flat=True))
                for model in (Job, Event, Saga, SagaAuditEvent)
            ]

        from django.db import connection, transaction

        first = ids()
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL hodei.retention = 'on'")
        for app in ("sagas", "outbox"):
            for model in apps.get_app_config(app).get_models():
                model._default_manager.all().delete()
        for model in (SagaAuditEvent, QueueEntry, DeferredEntry, Lease, Worker, Job, Provider):
            model._default_manager.all().delete()
        apps.get_model("jobs.AuditRecord").objects.all().delete()
        apps.get_model("jobs.BootstrapToken").objects.all().delete()
        Schedule.objects.all().delete()
        with transaction.atomic():
            load_sample(now=NOW)

        assert ids() == first


@pytest.mark.usefixtures("report")
class TestJobs:
    def test_every_state_that_is_written_is_there(self) -> None:
        assert set(Job.objects.values_list("state", flat=True)) == set(JobState) - {"CREATED"}
        written = set(WorkerState) - {"REGISTERED", "FAILED"}
        assert set(Worker.objects.values_list("state", flat=True)) == written

    def test_times_and_attempts_fit_the_state(self) -> None:
        for job in Job.objects.all():
            state = JobState(job.state)
            assert (job.completed_at is not None) == (state in JOB_FINAL), job
            assert job.attempts <= job.max_attempts
            assert (job.attempts > 0) == (job.started_at is not None), job
            if state in {JobState.FAILED, JobState.TIMEOUT}:
                assert job.error_message
                assert job.attempts == job.max_attempts
            times = [t for t in (job.created_at, job.started_at, job.completed_at, NOW) if t]
            assert times == sorted(times), job

    def test_places_fit_the_state(self) -> None:
        queued = set(QueueEntry.objects.values_list("job_id", flat=True))
        deferred = set(DeferredEntry.objects.values_list("job_id", flat=True))
        leased = set(Lease.objects.values_list("job_id", flat=True))
        for job in Job.objects.all():
            assert (job.pk in queued | deferred) == (job.state == "PENDING"), job
            assert (job.pk in leased) == (job.state in {"ASSIGNED", "RUNNING"}), job
        assert not queued & deferred
        for entry in QueueEntry.objects.select_related("job"):
            assert (entry.queue, entry.priority) == (entry.job.queue, entry.job.priority)
        for entry in DeferredEntry.objects.select_related("job"):
            assert entry.run_after == entry.job.run_after
            assert entry.run_after > NOW

    def test_leases_are_held_by_live_workers(self) -> None:
        for lease in Lease.objects.select_related("job"):
            holder = Worker.objects.get(pk=lease.worker_id)
            assert WorkerState(holder.state) not in WORKER_FINAL
            assert lease.job.worker_id == holder.pk
            assert lease.acquired_at < NOW < lease.expires_at
            if lease.job.state == "RUNNING":
                assert holder.current_job_id == lease.job_id

    def test_heartbeats_fit_the_state(self) -> None:
        for worker in Worker.objects.all():
            young = worker.state in {"CREATING", "CONNECTING"}
            assert (worker.last_heartbeat is None) == young, worker


@pytest.mark.usefixtures("report")
class TestOutbox:
    def test_events_fit_their_status(self) -> None:
        found = Counter(Event.objects.values_list("status", flat=True))
        assert set(found) == {"PENDING", "PUBLISHED", "FAILED"}
        for event in Event.objects.all():
            assert (event.published_at is not None) == (event.status == "PUBLISHED")
            assert event.created_at < NOW
            assert event.attempts_started == event.attempts_finished

    def test_dead_letters_copy_their_events(self) -> None:
        for letter in DeadLetter.objects.all():
            event = Event.objects.get(pk=letter.original_event_id)
            for name in ("aggregate_id", "event_type", "payload", "seq", "idempotency_key"):
                assert getattr(letter, name) == getattr(event, name)
            assert letter.original_created_at == event.created_at < letter.moved_at

    def test_each_story_fits_its_end(self) -> None:
        stories = {
            letter.pk: [a.action for a in letter.actions.order_by("id")]
            for letter in DeadLetter.objects.all()
        }
        ends = Counter(tuple(story) for story in stories.values())
        assert ends == {
            ("DIED",): 4,
            ("DIED", "RESOLVED"): 1,
            ("DIED", "DISCARDED"): 1,
            ("DIED", "REQUEUED"): 1,
        }
        for letter in DeadLetter.objects.all():
            is_open = stories[letter.pk] == ["DIED"]
            assert (letter.resolved_at is None) == is_open
            assert bool(letter.resolution_notes and letter.resolved_by) != is_open
            status = Event.objects.get(pk=letter.original_event_id).status
            assert status == ("PUBLISHED" if "REQUEUED" in stories[letter.pk] else "FAILED")

    def test_several_share_a_fingerprint(self) -> None:
        found = Counter(
            DeadLetter.objects.filter(resolved_at=None).values_list("fingerprint", flat=True)
        )
        assert max(found.values()) == 3

    def test_keys_are_held_back_for_a_reason(self) -> None:
        parked = TroubledKey.objects.filter(state="PARKED")
        assert set(parked.values_list("dead_letter_id", flat=True)) == set(
            DeadLetter.objects.filter(resolved_at=None).values_list("pk", flat=True)
        )
        for key in TroubledKey.objects.all():
            event = Event.objects.filter(aggregate_id=key.aggregate_id).first()
            assert event is not None
            assert key.lane == event.lane
            assert (key.retry_at is None) == (key.state == "PARKED")

    def test_actions_are_in_order(self) -> None:
        times = list(DeadLetterActionRecord.objects.order_by("id").values_list("occurred_at"))
        assert len(times) == 7 + 3


@pytest.mark.usefixtures("report")
class TestSagas:
    def test_outcomes_fit_the_states(self) -> None:
        outcomes = set(Saga.objects.values_list("outcome", flat=True))
        assert outcomes == {None, "COMPLETED", "COMPENSATED", "COMPENSATION_FAILED"}
        for saga in Saga.objects.all():
            if saga.outcome is None:
                assert saga.state in SAGA_LIVE
                assert saga.completed_at is None
                assert saga.lease_until is not None
                assert saga.lease_until > NOW
            else:
                assert saga.state == OUTCOME_STATES[SagaOutcome(saga.outcome)]
                assert saga.completed_at is not None
                assert saga.started_at < saga.completed_at < NOW
                assert saga.lease_owner is None

    def test_steps_fit_the_outcome(self) -> None:
        for saga in Saga.objects.all():
            states = {StepState(step.state) for step in saga.steps.all()}
            if saga.outcome == "COMPLETED":
                assert states == {StepState.COMPLETED}
            elif saga.outcome == "COMPENSATED":
                assert states <= {StepState.COMPENSATED, StepState.FAILED, StepState.PENDING}
            elif saga.outcome == "COMPENSATION_FAILED":
                assert StepState.PARKED in states
            else:
                assert StepState.IN_PROGRESS in states
            orders = list(saga.steps.order_by("step_order").values_list("step_order", flat=True))
            assert orders == [0, 1, 2, 3]

    def test_attempts_fit_the_steps(self) -> None:
        for step in SagaStep.objects.all():
            forward = step.attempts.filter(direction="FORWARD").count()
            assert forward == (0 if step.state == "PENDING" else step.retry_count + 1), step
            undone = step.attempts.filter(direction="COMPENSATION").exists()
            assert undone == (step.state in {"COMPENSATED", "PARKED"}), step
        open_ones = SagaStepAttempt.objects.filter(finished_at=None)
        assert [one.step.state for one in open_ones] == ["IN_PROGRESS"]

    def test_audit_begins_ends_and_stays_in_the_past(self) -> None:
        for saga in Saga.objects.all():
            events = list(saga.audit_events.order_by("occurred_at"))
            assert events[0].event_type == "SAGA_STARTED"
            assert events[0].occurred_at >= saga.started_at
            assert events[-1].occurred_at <= NOW
            if saga.outcome:
                assert events[-1].event_type == f"SAGA_{saga.outcome}"
            undone = [e.step_name for e in events if e.event_type == "STEP_COMPENSATED"]
            done = [e.step_name for e in events if e.event_type == "STEP_COMPLETED"]
            assert undone == [name for name in reversed(done) if name in undone]

    def test_locks_are_held_by_live_sagas(self) -> None:
        assert {lock.saga.state for lock in SagaLock.objects.all()} == {"IN_PROGRESS"}


@pytest.mark.usefixtures("report")
@pytest.mark.parametrize("app", ["jobs", "outbox", "sagas"])
def test_every_value_is_one_that_its_field_allows(app: str) -> None:
    for model in apps.get_app_config(app).get_models():
        # JSON may be empty, which Django takes for a form left blank.
        json = [f.name for f in model._meta.concrete_fields if isinstance(f, JSONField)]
        for row in model._default_manager.all():
            row.clean_fields(exclude=json)


@pytest.mark.usefixtures("report")
def test_names_are_not_real() -> None:
    hosts = Worker.objects.annotate(host=F("handle__host")).values_list("host", flat=True)
    assert all(host.endswith(".example") for host in hosts)


class TestWorking:
    def test_a_worker_runs_what_waits(self, report: SampleReport) -> None:
        waiting = set(QueueEntry.objects.values_list("job__name", flat=True))

        ran = run_jobs()

        assert {one.name for one in ran} >= waiting
        assert {(one.state, one.error) for one in ran} == {(JobState.SUCCEEDED, None)}

    def test_every_task_of_a_job_is_there(self, report: SampleReport) -> None:
        paths = {job.spec["python"]["task"] for job in Job.objects.all() if "python" in job.spec}

        assert paths
        for path in paths:
            assert isinstance(import_string(path), Task)
