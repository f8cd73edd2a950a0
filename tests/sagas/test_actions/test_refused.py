from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection, transaction

from sagas.exceptions import ActionRefused, SagaInvalid, SagaNotFound
from sagas.services import actions
from tests.sagas.test_actions.kit import WHY, retrying, stored

pytestmark = pytest.mark.django_db


BAD: list[tuple[dict[str, Any], str]] = [
    ({"reason": ""}, "reason is ''"),
    ({"reason": "  "}, "in words"),
    ({"reason": None}, "reason is None"),
    ({"reason": "x" * 1_001}, "1,001 characters"),
    ({"reason": "a\0b"}, "no NUL"),
    ({"reason": "\ud800"}, "surrogate"),
    ({"actor": ""}, "actor is ''"),
    ({"actor": 7}, "actor is 7"),
]


@pytest.mark.parametrize(("values", "match"), BAD)
def test_a_reason_and_an_actor_are_needed(values: dict[str, Any], match: str) -> None:
    saga = retrying()
    with pytest.raises(SagaInvalid, match=match):
        actions.pause(saga, **{**WHY, **values})


@pytest.mark.parametrize("output", [float("nan"), {1, 2}, "a\0b", "\ud800", b"x", object()])
def test_an_output_has_to_be_json(output: Any) -> None:
    saga = retrying()
    with pytest.raises(SagaInvalid, match="output"):
        actions.skip_step(saga, "charge", output, **WHY)


def test_what_is_not_there() -> None:
    with pytest.raises(SagaNotFound):
        actions.pause(uuid.UUID(int=1), **WHY)
    with pytest.raises(ActionRefused, match="it has reserve, charge"):
        actions.retry_step(retrying(), "no such step", **WHY)
    with pytest.raises(SagaInvalid, match="time zone"):
        actions.extend_deadline(retrying(), datetime(2999, 1, 1), **WHY)  # noqa: DTZ001
    with pytest.raises(ActionRefused, match="has passed"):
        actions.extend_deadline(retrying(), datetime(1999, 1, 1, tzinfo=UTC), **WHY)


def test_an_action_undoes_itself_with_the_callers_transaction() -> None:
    saga = retrying()
    before = stored(saga)
    with transaction.atomic():
        actions.cancel(saga, **WHY)
        transaction.set_rollback(True)

    assert stored(saga) == before
    assert connection.is_usable()
