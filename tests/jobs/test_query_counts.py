"""How many queries each service makes, however much there is: who adds one changes the number here.

Savepoints are not counted: within a test each transaction of a service is one.
"""

from __future__ import annotations

import inspect
import io
import pkgutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

import jobs.services
from jobs.logs import store
from jobs.selection import Needs
from jobs.services import (
    audit,
    decisions,
    inspection,
    lifecycle,
    logs,
    orchestration,
    providers,
    queue,
    requeue,
    retention,
    schedules,
    throughput,
    tokens,
    workers,
)
from jobs.spec import NewJob
from jobs.states import JobState, ProviderStatus, WorkerState
from tests.jobs.conftest import Jobs

pytestmark = pytest.mark.django_db

WHO: dict[str, Any] = {"reason": "as agreed", "actor": "ada"}
SPEC = {"test": {"do": "succeed"}}
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Subject:
    """What the services work on."""

    def __init__(self, jobs: Jobs) -> None:
        self.job = jobs.enqueue(name="it")
        self.failed, self.held = jobs.enqueue(), jobs.enqueue()
        jobs.execute("UPDATE jobs SET state = 'FAILED' WHERE id = %s", [self.failed])
        jobs.execute("DELETE FROM job_queue WHERE job_id = %s", [self.failed])
        lifecycle.hold(self.held, **WHO)
        jobs.execute(
            "INSERT INTO job_log_files (job_id, storage_uri, expires_at) "
            "VALUES (%s, %s, now() - interval '1 day')",
            [self.failed, store.save(store.uri_of("x.log"), io.BytesIO(b"it failed"))],
        )
        self.provider, self.empty, self.worker, self.silent = (uuid.uuid4() for _ in range(4))
        for provider, name in ((self.provider, "p"), (self.empty, "e")):
            providers.save(provider, name=name, provider_type="test", actor="ada")
        for worker in (self.worker, self.silent):
            workers.create(worker, provider_id=self.provider, resource_id="r", actor="ada")
        jobs.execute("UPDATE workers SET state = 'READY'")
        jobs.execute(
            "UPDATE workers SET created_at = now() - interval '1 day' WHERE id = %s", [self.silent]
        )
        self.busy = uuid.uuid4()
        workers.create(self.busy, provider_id=self.provider, resource_id="r", actor="ada")
        jobs.execute("UPDATE workers SET state = 'BUSY' WHERE id = %s", [self.busy])
        self.new = uuid.uuid4()
        self.token = tokens.issue_token(self.new, actor="ada")
        self.orchestrated = jobs.enqueue(orchestrated=True)
        self.leased = jobs.enqueue(orchestrated=True)
        assert orchestration.assign(self.leased, actor="ada", worker_id=self.busy)
        schedules.add("s", cron="* * * * *", spec=SPEC, actor="ada")
        schedules.disable("s", actor="ada")
        schedules.add("t", cron="* * * * *", spec=SPEC, actor="ada")


Call = Callable[[Subject], Any]
SERVICES: dict[str, tuple[int, Call]] = {
    "queue.enqueue": (1, lambda s: queue.enqueue(spec=SPEC)),
    "queue.enqueue_many": (
        2,
        lambda s: queue.enqueue_many(NewJob(spec=SPEC) for _ in range(1_000)),
    ),
    "queue.checked": (0, lambda s: queue.checked(NewJob(spec=SPEC))),
    "lifecycle.cancel": (8, lambda s: lifecycle.cancel(s.job, **WHO)),
    "lifecycle.hold": (8, lambda s: lifecycle.hold(s.job, **WHO)),
    "lifecycle.release": (7, lambda s: lifecycle.release(s.held, **WHO)),
    "lifecycle.retry": (5, lambda s: lifecycle.retry(s.failed, **WHO)),
    "lifecycle.set_priority": (6, lambda s: lifecycle.set_priority(s.job, 7, **WHO)),
    "lifecycle.delete": (8, lambda s: lifecycle.delete(s.job, **WHO)),
    "decisions.cancel": (8, lambda s: decisions.cancel(s.job, **WHO)),
    "decisions.hold": (8, lambda s: decisions.hold(s.job, **WHO)),
    "decisions.release": (7, lambda s: decisions.release(s.held, **WHO)),
    "decisions.retry": (5, lambda s: decisions.retry(s.failed, **WHO)),
    "decisions.set_priority": (6, lambda s: decisions.set_priority(s.job, priority=7, **WHO)),
    "decisions.delete": (8, lambda s: decisions.delete(s.job, **WHO)),
    "decisions.retry_these": (
        3,
        lambda s: decisions.retry_these([s.failed, s.job], batch=uuid.uuid4(), **WHO),
    ),
    "requeue.retry_these": (
        3,
        lambda s: requeue.retry_these([s.failed, s.job], batch=uuid.uuid4(), **WHO),
    ),
    "requeue.count": (2, lambda s: requeue.count(requeue.RequeueFilter())),
    "requeue.requeue": (4, lambda s: requeue.requeue(requeue.RequeueFilter(), limit=9, **WHO)),
    "inspection.detail": (4, lambda s: inspection.detail(s.job)),
    "inspection.find": (1, lambda s: inspection.find(inspection.JobFilter())),
    "inspection.glance": (1, lambda s: inspection.glance()),
    "inspection.statistics": (2, lambda s: inspection.statistics()),
    "audit.record": (1, lambda s: audit.record("X", {})),
    "audit.record_many": (1, lambda s: audit.record_many("X", [audit.Record(payload={})] * 9)),
    "audit.write": (1, lambda s: audit.write(connection.cursor(), "X", [])),
    "audit.find": (1, lambda s: audit.find()),
    "audit.count_by_type": (1, lambda s: audit.count_by_type()),
    "logs.look": (1, lambda s: logs.look(s.failed)),
    "logs.keep": (3, lambda s: logs.keep(s.failed, until=NOW, **WHO)),
    "logs.delete": (2, lambda s: logs.delete(s.failed, **WHO)),
    "logs.read": (1, lambda s: b"".join(logs.read(s.failed))),
    # What has expired, old tails, a batch of files, that they are gone, and that there are no more.
    "logs.purge_logs": (5, lambda s: logs.purge_logs()),
    "logs.total_size": (1, lambda s: logs.total_size()),
    "orchestration.look": (1, lambda s: orchestration.look(s.orchestrated)),
    # Each of the others ends with the job's correlation, and a record.
    "orchestration.assign": (3, lambda s: orchestration.assign(s.orchestrated, actor="ada")),
    "orchestration.take_back": (5, lambda s: orchestration.take_back(s.leased, actor="ada")),
    "orchestration.end_anyway": (
        6,
        lambda s: orchestration.end_anyway(s.leased, JobState.TIMEOUT, **WHO),
    ),
    "providers.save": (
        2,
        lambda s: providers.save(s.provider, name="q", provider_type="test", actor="a"),
    ),
    "providers.set_status": (
        3,
        lambda s: providers.set_status(s.provider, ProviderStatus.DEGRADED, **WHO),
    ),
    "providers.enable": (1, lambda s: providers.enable(s.provider, **WHO)),
    "providers.disable": (3, lambda s: providers.disable(s.provider, **WHO)),
    "providers.delete": (5, lambda s: providers.delete(s.empty, **WHO)),
    "providers.lock_room": (2, lambda s: providers.lock_room(s.provider)),
    "providers.select": (1, lambda s: providers.select(Needs())),
    "providers.candidates": (1, lambda s: providers.candidates()),
    "workers.create": (
        4,
        lambda s: workers.create(s.new, provider_id=s.provider, resource_id="r", actor="a"),
    ),
    "workers.register": (
        8,
        lambda s: workers.register(s.new, token=s.token, provider_id=s.provider),
    ),
    # The first one makes the provider, and tells of it.
    "workers.register_local": (3, lambda s: workers.register_local(resource_id="host-1")),
    "workers.local_provider": (0, lambda s: workers.local_provider(s.provider)),
    "workers.heartbeat": (1, lambda s: workers.heartbeat(s.worker)),
    "workers.move": (2, lambda s: workers.move(s.worker, WorkerState.DRAINING, **WHO)),
    "workers.drain": (2, lambda s: workers.drain(s.worker, **WHO)),
    "workers.terminate": (4, lambda s: workers.terminate(s.worker, **WHO)),
    "workers.lose_worker": (5, lambda s: workers.lose_worker(s.silent, reason="gone")),
    "workers.assign": (1, lambda s: workers.assign(s.worker, s.job)),
    "workers.release": (1, lambda s: workers.release(s.busy)),
    "workers.find": (1, lambda s: workers.find()),
    "tokens.issue_token": (4, lambda s: tokens.issue_token(s.new, actor="ada")),
    "tokens.spend": (2, lambda s: tokens.spend(s.token, s.new)),
    "schedules.add": (3, lambda s: schedules.add("u", cron="* * * * *", spec=SPEC, actor="a")),
    "schedules.change": (5, lambda s: schedules.change("s", cron="1 * * * *", actor="ada")),
    "schedules.enable": (4, lambda s: schedules.enable("s", actor="ada")),
    "schedules.disable": (4, lambda s: schedules.disable("t", actor="ada")),
    "schedules.remove": (3, lambda s: schedules.remove("s", actor="ada")),
    "schedules.find": (1, lambda s: schedules.find()),
    "schedules.job_of": (
        0,
        lambda s: schedules.job_of("s", SPEC, {}, NOW),
    ),
    "throughput.enqueued_by_minute": (1, lambda s: throughput.enqueued_by_minute()),
    # A look at the clock, and of each kind a lock, a setting and a batch.
    "retention.preview": (8, lambda s: list(retention.preview())),
    "retention.prune": (22, lambda s: list(retention.prune(retention.Keep(logs=False)))),
}
MODULES: list[ModuleType] = [
    *(
        audit,
        decisions,
        inspection,
        lifecycle,
        logs,
        orchestration,
        providers,
        queue,
        requeue,
        retention,
    ),
    *(schedules, throughput, tokens, workers),
]


@contextmanager
def counted() -> Iterator[list[str]]:
    found: list[str] = []
    with CaptureQueriesContext(connection) as queries:
        yield found
    # The context knows its queries when it ends.
    found += [
        query["sql"]
        for query in queries.captured_queries
        if not query["sql"].startswith(("SAVEPOINT", "RELEASE SAVEPOINT"))
    ]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_queries_of(name: str, jobs: Jobs, log_folder: Path) -> None:
    subject = Subject(jobs)
    number, call = SERVICES[name]
    with counted() as found:
        call(subject)

    assert len(found) == number, "\n".join(found)


def test_every_service_is_counted() -> None:
    names = {module.name for module in pkgutil.iter_modules(jobs.services.__path__)}
    assert {module.__name__.rpartition(".")[2] for module in MODULES} == names
    services = {
        f"{module.__name__.rpartition('.')[2]}.{name}"
        for module in MODULES
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if f"{function.__module__}.".startswith(f"{module.__name__}.") and name[0] != "_"
    }

    assert set(SERVICES) == services
