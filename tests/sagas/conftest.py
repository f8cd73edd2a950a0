"""The tables of the sagas, empty and committed to: runners look at them over connections of their
own; and ``effects``, where the steps of test sagas leave what they did."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections

from sagas import registry
from sagas.definition import Saga
from sagas.runner import Runner, RunnerOptions
from sagas.services.start import start
from sagas.testing import Ran, advance, seen
from tests.tables import empty

TABLES = "sagas, saga_steps, saga_step_attempts, saga_locks, saga_audit_events, outbox_events"


class Sagas:
    """What a test says to the sagas, and asks of them."""

    def execute(self, sql: str, parameters: Any = None) -> int:
        with connections["default"].cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.rowcount

    def rows(self, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        with connections["default"].cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetchall()

    def value(self, sql: str, parameters: Any = None) -> Any:
        ((found,),) = self.rows(sql, parameters)
        return found

    def start(self, definition: type[Saga], given: Any = None, **options: Any) -> uuid.UUID:
        if definition not in registry.definitions():
            registry.register(definition)
        return start(definition.kind, given, **options)

    def runner(self, **options: Any) -> Runner:
        return Runner(RunnerOptions(**{"drain": True, "chores": False, **options}))

    def drain(self, **options: Any) -> Runner:
        """Run what is due now."""
        runner = self.runner(**options)
        runner.run()
        return runner

    def finish(self, saga: uuid.UUID, **options: Any) -> Ran:
        """Let time pass until the saga has ended, or waits for a person."""
        for _ in range(1_000):
            self.drain(**options)
            due = self.value("SELECT due_at FROM sagas WHERE id = %s", [saga])
            if due is None:
                return seen(saga)
            advance(timedelta(days=1))
        raise AssertionError(seen(saga))

    def expire(self, *, most_lost: int = 3) -> None:
        """End all leases, as time would. Runners die of their test, and not of a saga: it is not
        held against one that it has outlived many."""
        self.execute(
            "UPDATE sagas SET lease_until = clock_timestamp(), due_at = clock_timestamp(), "
            "lost_leases = least(lost_leases, %s) WHERE lease_until IS NOT NULL",
            [most_lost],
        )

    def step(self, saga: uuid.UUID, name: str, column: str = "state") -> Any:
        return self.value(
            f"SELECT {column} FROM saga_steps WHERE saga_id = %s AND step_name = %s", [saga, name]
        )

    def effects(self, saga: uuid.UUID) -> list[tuple[str, str, str]]:
        """(step, what, key) in the order in which they happened."""
        return self.rows("SELECT step, what, key FROM effects WHERE saga = %s ORDER BY id", [saga])


@contextmanager
def running(*runners: Runner) -> Iterator[None]:
    """In the block these runners work, each in a thread."""

    def work(runner: Runner) -> None:
        try:
            runner.run()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=[runner]) for runner in runners]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for runner in runners:
            runner.stop.set()
            runner.wake()
        for thread in threads:
            thread.join()


@pytest.fixture
def transactional_db(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """In place of pytest-django's, which empties every table of the project after each test."""
    with django_db_blocker.unblock():
        assert connections["default"].settings_dict["NAME"].startswith("test_")
        yield
        connections["default"].close()


@pytest.fixture
def sagas(transactional_db: None) -> Iterator[Sagas]:
    found = Sagas()
    before = list(registry.definitions())
    empty(TABLES)
    found.execute(
        "DROP TABLE IF EXISTS effects; CREATE TABLE effects (id bigint GENERATED ALWAYS AS "
        "IDENTITY, saga uuid, step text, what text, key text)"
    )
    yield found
    for definition in registry.definitions():
        if definition not in before:
            registry.unregister(definition)
    # The next test has the tables empty, and so do others, who share the database.
    found.execute("DROP TABLE effects")
    empty(TABLES)
