"""Two who publish under many of the same keys, in another order: they take turns, on every server,
for it is the server that decides in which order it writes and locks."""

from __future__ import annotations

import threading
import uuid
from typing import Any

import pytest
from django.db import OperationalError, transaction
from psycopg.errors import DeadlockDetected

from outbox.services.publish import Draft, publish, publish_many
from tests.meeting import SECONDS, at_once, in_turns, kinds
from tests.outbox.conftest import Outbox


def draft(kind: str, number: int, key: str, *, about: Any = 1) -> Draft:
    return Draft(
        event_type="Counted",
        aggregate_type=kind,
        aggregate_id=about,
        payload={"n": number},
        idempotency_key=key,
    )


def test_many_in_another_order_do_not_wait_crosswise(outbox: Outbox) -> None:
    """Under one key is one event, of one aggregate: they take turns by those."""

    def forwards(keys: list[str]) -> Any:
        with transaction.atomic():
            return publish_many(draft("JOB", 1, key, about=key) for key in keys)

    def prepare() -> list[str]:
        return [f"{uuid.uuid4()}x" for _ in range(100)]

    for _keys, one, other in in_turns(forwards, lambda keys: forwards(keys[::-1]), prepare=prepare):
        assert kinds(one, other) == ["DuplicateEvent", "list"]


def test_the_same_keys_for_other_aggregates_are_not_waited_for_crosswise(outbox: Outbox) -> None:
    """They have no turn in common, and meet at the keys alone."""

    def stored(kind: str, keys: list[str]) -> Any:
        with transaction.atomic():
            return publish_many(
                draft(kind, number, key, about=number % 2) for number, key in enumerate(keys)
            )

    def prepare() -> list[str]:
        return [str(uuid.uuid4()) for _ in range(500)]

    for keys, one, other in in_turns(
        lambda keys: stored("JOB", keys),
        lambda keys: stored("WORKER", keys[::-1]),
        prepare=prepare,
    ):
        assert kinds(one, other) == ["DuplicateEvent", "list"]
        numbers = outbox.rows(
            "SELECT (payload ->> 'n')::int FROM outbox_events "
            "WHERE idempotency_key = ANY(%s) ORDER BY seq",
            [keys],
        )
        assert numbers == [(number,) for number in range(500)]


@pytest.mark.parametrize("last", ["one", "many"])
def test_keys_that_are_published_one_by_one_crosswise_end_one_of_the_two(
    outbox: Outbox, last: str
) -> None:
    """As with rows: the whole transaction of that one, so that nothing is there by halves."""
    half = threading.Barrier(2)

    def stored(kind: str, keys: str) -> list[str]:
        with transaction.atomic():
            publish("Counted", kind, 1, {"n": 1}, idempotency_key=keys[0])
            half.wait(SECONDS)
            if last == "one":
                publish("Counted", kind, 1, {"n": 2}, idempotency_key=keys[1])
            else:
                publish_many([draft(kind, 2, keys[1])])
        return [kind, kind]

    found = at_once(lambda: stored("JOB", "ab"), lambda: stored("WORKER", "ba"))
    (kept,) = (one for one in found if isinstance(one, list))
    (ended,) = (one for one in found if isinstance(one, Exception))

    assert isinstance(ended, OperationalError)
    assert isinstance(ended.__cause__, DeadlockDetected)
    assert "deadlock detected" in str(ended)
    assert [kind for (kind,) in outbox.rows("SELECT aggregate_type FROM outbox_events")] == kept
