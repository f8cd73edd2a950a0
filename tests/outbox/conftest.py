"""The tables of the outbox, empty and committed to: relays look at them over connections of their
own."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections, transaction
from django.test.utils import setup_databases, teardown_databases

from outbox.conf import Destination
from outbox.outcomes import Outcome
from outbox.relay import Relay
from outbox.services.publish import publish
from tests.outbox.recorder import Recorder

TABLES = (
    "outbox_events, outbox_dlq, outbox_dlq_actions, outbox_lanes, outbox_keys, outbox_relays, "
    "outbox_inbox"
)


class Outbox:
    """What a test says to the outbox, and asks of it."""

    def execute(self, sql: str, parameters: Any = None) -> None:
        with connections["default"].cursor() as cursor:
            cursor.execute(sql, parameters)

    def rows(self, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        with connections["default"].cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetchall()

    def value(self, sql: str, parameters: Any = None) -> Any:
        ((found,),) = self.rows(sql, parameters)
        return found

    def publish(self, aggregate: Any, *numbers: int, **options: Any) -> list[uuid.UUID]:
        """Publish an event for each number, in one transaction."""
        with transaction.atomic():
            return [
                publish("Counted", "JOB", aggregate, {"n": number}, **options) for number in numbers
            ]

    def relay(
        self,
        publisher: Recorder | None = None,
        *,
        stop: threading.Event | None = None,
        destination: Destination | None = None,
        once: bool = True,
        **options: Any,
    ) -> Relay:
        return Relay(
            "default",
            destination or Destination(name="default", publisher="unused"),
            publisher or Recorder(),
            stop=stop or threading.Event(),
            once=once,
            **options,
        )

    def drain(self, judge: Callable[[Any], Outcome] | None = None, **options: Any) -> Recorder:
        """Run a relay until nothing is left to send; returns what it was given."""
        recorder = Recorder(judge)
        self.relay(recorder, **options).run()
        return recorder

    def statuses(self) -> dict[int, str]:
        return dict(self.rows("SELECT (payload ->> 'n')::int, status FROM outbox_events"))


@pytest.fixture(scope="session")
def outbox_database(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """The test database, which pytest-django makes only where a test that runs is marked for it.
    Without it the tables of development would be emptied."""
    connection = connections["default"]
    if connection.settings_dict["NAME"] == connection.creation._get_test_db_name():
        yield
        return
    with django_db_blocker.unblock():
        made = setup_databases(verbosity=0, interactive=False, aliases={"default"})
    yield
    with django_db_blocker.unblock():
        teardown_databases(made, verbosity=0)


@pytest.fixture
def outbox(outbox_database: None, django_db_blocker: Any) -> Iterator[Outbox]:
    """The outbox of the test database, empty."""
    with django_db_blocker.unblock():
        found = Outbox()
        found.execute(f"TRUNCATE {TABLES}")
        try:
            yield found
        finally:
            found.execute(f"TRUNCATE {TABLES}")
            connections["default"].close()
