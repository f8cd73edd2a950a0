"""What runs day and night does so under the role of docs/how-to/database-roles.md, which may do no
more than that."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import connections, transaction
from django.db.utils import Error, ProgrammingError
from django.test import Client

from jobs.services import lifecycle, providers, schedules, tokens, workers
from jobs.services.queue import NewJob, enqueue, enqueue_many
from jobs.ticker import tick
from jobs.worker import Worker, WorkerOptions
from outbox.conf import Destination
from outbox.relay import Relay
from outbox.services import dead_letters, inbox
from outbox.services.publish import publish
from sagas import registry
from sagas.definition import Saga, Step, StepContext, StepFailed
from sagas.runner import Runner, RunnerOptions
from sagas.services import actions
from sagas.services.start import start
from tests.jobs.conftest import TABLES as JOBS
from tests.outbox.conftest import TABLES as OUTBOX
from tests.outbox.dead import refusing
from tests.outbox.recorder import Recorder
from tests.processes import ROOT
from tests.sagas.conftest import TABLES as SAGAS
from tests.tables import Tables, empty, transactional_db

__all__ = ["transactional_db"]

PAGE = ROOT / "docs" / "how-to" / "database-roles.md"
ALL = ", ".join(dict.fromkeys(f"{JOBS}, {OUTBOX}, {SAGAS}".split(", ")))
WHO: dict[str, Any] = {"reason": "why", "actor": "who"}
SPEC = {"test": {"do": "succeed", "n": 0}}


def act(context: StepContext) -> str:
    return context.step


def refuse(_context: StepContext) -> None:
    raise StepFailed("no", retry=False)


class Order(Saga):
    kind = "ORDER_UNDER_A_ROLE"
    steps = (
        Step("reserve", act, act, local=True),
        Step("charge", act, act),
        Step("ship", refuse),
    )


class Roles:
    """The page's roles under names of their own, on the test database; who acts as one of them."""

    def __init__(self, name: str) -> None:
        self.app, self.retention = f"{name}_app", f"{name}_retention"
        self._name = name

    def make(self) -> None:
        blocks = re.findall(r"(?:^    .*\n|^\n)+", PAGE.read_text(), re.MULTILINE)
        sql = "\n".join(block for block in blocks if block.strip())
        self.statements = sql.replace("hodei_", f"{self._name}_")
        with connections["default"].cursor() as cursor:
            cursor.execute(self.statements)

    def drop(self) -> None:
        with connections["default"].cursor() as cursor:
            for role in (self.retention, self.app):
                cursor.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")

    def act_as(self, role: str | None) -> None:
        connections["default"].close()
        options = connections["default"].settings_dict["OPTIONS"]
        options.pop("assume_role", None)
        if role is not None:
            options["assume_role"] = role


@pytest.fixture
def roles(transactional_db: None) -> Iterator[Roles]:
    found = Roles(f"test_{uuid.uuid4().hex[:8]}")
    options = connections["default"].settings_dict["OPTIONS"]
    before = dict(options)
    empty(ALL)
    found.make()
    found.act_as(found.app)
    try:
        yield found
    finally:
        found.act_as(None)
        options.clear()
        options.update(before)
        found.drop()
        empty(ALL)


@pytest.fixture
def there(roles: Roles, settings: Any) -> Tables:
    settings.JOBS_EXECUTORS = {"test": "tests.jobs.executors.Scripted"}
    settings.JOBS_AUDIT = settings.JOBS_EVENTS = "all"
    found = Tables()
    assert found.value("SELECT current_user") == roles.app
    return found


def test_jobs_run(there: Tables) -> None:
    job = enqueue(spec=SPEC, idempotency_key="a").id
    enqueue_many(NewJob(spec=SPEC, name=f"{n}") for n in range(2_100))
    failed = enqueue(spec={"test": {"do": "fail"}}, max_attempts=2).id
    held = enqueue(spec=SPEC).id
    lifecycle.hold(held, **WHO)
    lifecycle.release(held, **WHO)
    lifecycle.set_priority(held, 5, **WHO)
    gone = enqueue(spec=SPEC).id
    lifecycle.cancel(gone, **WHO)
    lifecycle.delete(gone, **WHO)
    later = enqueue(spec=SPEC, run_after=None).id

    Worker(WorkerOptions(drain=True, concurrency=4)).run()

    states = dict(there.rows("SELECT id, state FROM jobs WHERE id = ANY(%s)",
                             [[job, failed, held, later]]))  # fmt: skip
    assert states[job] == states[held] == states[later] == "SUCCEEDED"
    assert there.value("SELECT count(*) FROM jobs WHERE state = 'SUCCEEDED'") >= 2_103
    assert there.value("SELECT count(*) FROM audit_logs") > 0


def test_schedules_tick(there: Tables) -> None:
    from hodei.sessions import connect

    schedules.add("nightly", cron="0 0 1 1 *", spec=SPEC, actor="who")
    there.execute("UPDATE job_schedules SET next_run_at = now() - interval '1 s'")
    with connect("default", "test") as session:
        assert tick(session) == 1
    schedules.change("nightly", actor="who", cron="0 1 * * *")
    schedules.disable("nightly", actor="who")
    schedules.remove("nightly", actor="who")


def test_workers_and_providers(there: Tables) -> None:
    provider, worker = uuid.uuid4(), uuid.uuid4()
    providers.save(provider, name="p", provider_type="process", actor="who")
    workers.create(worker, provider_id=provider, resource_id="r", actor="who")
    workers.register(worker, token=tokens.issue_token(worker, actor="who"))
    workers.heartbeat(worker)
    workers.drain(worker, **WHO)
    assert workers.terminate(worker, **WHO) == 0
    providers.disable(provider, **WHO)


def relay(judge: Any = None) -> Recorder:
    import threading

    recorder = Recorder(judge)
    destination = Destination(name="default", publisher="unused")
    Relay("default", destination, recorder, stop=threading.Event(), once=True).run()
    return recorder


def test_events_are_delivered_and_dead_ones_dealt_with(there: Tables) -> None:
    with transaction.atomic():
        for number in range(3):
            publish("Counted", "JOB", 1, {"n": number})
        publish("Counted", "JOB", 2, {"n": 9})
    relay(refusing(0))
    (letter,) = [row[0] for row in there.rows("SELECT id FROM outbox_dlq")]
    dead_letters.discard(letter, by="who", note="why")
    dead_letters.restore(letter, by="who", note="why")
    dead_letters.requeue(letter, by="who", note="why")
    relay()
    with transaction.atomic(), inbox.once("here", "1") as first:
        assert first
    assert there.value("SELECT count(*) FROM outbox_events WHERE status <> 'PUBLISHED'") == 0


def test_sagas_run_and_turn_back(there: Tables) -> None:
    registry.register(Order)
    try:
        saga = start(Order.kind, {}, key="a", locks=[("order", 7)])
        paused = start(Order.kind, {})
        actions.pause(paused, **WHO)
        Runner(RunnerOptions(drain=True)).run()
        actions.resume(paused, **WHO)
        actions.cancel(paused, **WHO)
        Runner(RunnerOptions(drain=True)).run()
    finally:
        registry.unregister(Order)

    assert dict(there.rows("SELECT id, outcome FROM sagas")) == {
        saga: "COMPENSATED",
        paused: "CANCELLED",
    }


@pytest.mark.parametrize(
    "words",
    [
        *("jobs_stats", "outbox_stats", "outbox_dlq list", "sagas_list", "schema_status"),
        *("schema_history", "jobs_requeue --dry-run", "jobs_schedule list", "jobs_provider list"),
    ],
)
def test_commands_that_look(there: Tables, words: str) -> None:
    with suppress(SystemExit):  # which is how they say what they have found
        call_command(*words.split())


def test_pages(there: Tables, settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = False
    assert Client().get("/admin/login/").status_code == 200
    assert Client().get("/health/ready").status_code == 200


#: What it may not do, and what the database says.
FORBIDDEN = [
    "UPDATE audit_logs SET actor = 'nobody'",
    "DELETE FROM audit_logs",
    "SET LOCAL hodei.retention = 'on'; DELETE FROM audit_logs",
    "SET LOCAL hodei.retention = 'on'; UPDATE saga_audit_events SET message = ''",
    "DELETE FROM saga_audit_events",
    "UPDATE outbox_dlq_actions SET actor = 'nobody'",
    "DELETE FROM outbox_dlq_actions",
    "TRUNCATE audit_logs",
    "ALTER TABLE audit_logs DISABLE TRIGGER audit_logs_append_only",
    "SET LOCAL session_replication_role = replica",
    "DELETE FROM django_migrations",
    "INSERT INTO schema_migration_runs DEFAULT VALUES",
    "DROP TABLE jobs",
    "CREATE TABLE mine (id int)",
    "ALTER TABLE jobs ADD COLUMN mine int",
    "CREATE ROLE mine SUPERUSER",
    "COPY jobs TO PROGRAM 'cat'",
]


@pytest.mark.parametrize("sql", FORBIDDEN)
def test_what_it_may_not_do(there: Tables, sql: str) -> None:
    with pytest.raises(ProgrammingError) as refused, transaction.atomic():
        there.execute(sql)

    cause = refused.value.__cause__
    assert isinstance(cause, psycopg.errors.InsufficientPrivilege)


def test_what_is_on_record_is_deleted_by_retention_alone(there: Tables, roles: Roles) -> None:
    from jobs.services import retention
    from sagas.services import retention as of_sagas

    job = enqueue(spec=SPEC).id
    lifecycle.cancel(job, **WHO)
    now = timedelta()
    keep = retention.Keep(audit=now, workers=now, tokens=now)
    with pytest.raises(Error):
        list(retention.prune(keep))

    roles.act_as(roles.retention)
    assert there.value("SELECT current_user") == roles.retention
    assert sum(one.rows for one in retention.prune(keep)) >= 1
    list(of_sagas.prune(of_sagas.Keep(sagas=now, failed=now, audit=now)))
    call_command("outbox_prune", "--published-days=0", "--inbox-days=0", "--dead-letter-days=0")
    with pytest.raises(ProgrammingError), transaction.atomic():
        there.execute("UPDATE audit_logs SET actor = 'nobody'")
