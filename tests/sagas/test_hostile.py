"""Each service of the sagas, given what nobody should give it: see ``tests.hostile``."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from sagas import registry
from sagas.definition import Saga, Step, StepContext
from sagas.exceptions import ActionRefused, ResourceLocked, SagaInvalid, SagaNotFound
from sagas.models import Saga as SagaModel
from sagas.services import actions, inspection, retention
from sagas.services.inspection import SagaFilter
from sagas.services.start import start, start_many
from sagas.testing import run_sagas
from tests.hostile import Case, complaints, each

pytestmark = pytest.mark.django_db

WHY: dict[str, Any] = {"reason": "the provider says so", "actor": "ada"}


def act(_context: StepContext) -> str:
    return "done"


class Plain(Saga):
    kind = "PLAIN"
    steps = (Step("act", act, local=True), Step("again", act, local=True))


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    registry.register(Plain)
    yield
    registry.unregister(Plain)


def started(**given: Any) -> uuid.UUID:
    return start(**{"kind": "PLAIN", **given})


def many(**given: Any) -> Any:
    return start_many("PLAIN", [{"n": 1}, given.pop("input", None)], **given)


def within(**given: Any) -> uuid.UUID:
    return start("PLAIN", given)


def locked(**given: Any) -> uuid.UUID:
    pair = {"resource_type": "order", "resource_id": 7, **given}
    return start("PLAIN", locks=[(pair["resource_type"], pair["resource_id"])])


def decided(name: str, **more: Any) -> Any:
    def decide(**given: Any) -> str:
        saga = given.pop("saga", None) if "saga" in given else start("PLAIN")
        return str(getattr(actions, name)(saga, **{**more, **WHY, **given}))

    decide.__name__ = name
    return decide


def found(**given: Any) -> Any:
    return inspection.find(SagaFilter(**given), limit=1)


def listed(**given: Any) -> Any:
    return inspection.find(SagaFilter(), **given)


def kept(**given: Any) -> Any:
    return list(retention.preview(retention.Keep(**given)))


def pruned(batch: Any) -> Any:
    return list(retention.prune(batch=batch))


INVALID = (SagaInvalid, registry.SagaNotRegistered)
REFUSED = (SagaNotFound, ActionRefused, SagaInvalid)
OF_STEP = ("retry_step", "skip_step", "mark_done", "mark_not_done", "mark_handled")
OF_SAGA = ("pause", "resume", "cancel", "compensate", "release_lease", "retry_compensation")
WORDS = {"saga": "id", "reason": "text", "actor": "text"}
TEXTS = dict.fromkeys(("kind", "key", "correlation_id", "actor", "trace_parent"), "text")
CASES: list[Case] = [
    *each(started, *INVALID, ResourceLocked, input="json", locks="json", **TEXTS),
    *each(within, SagaInvalid, n="json"),
    *each(many, SagaInvalid, input="json", correlation_id="text", actor="text"),
    *each(locked, SagaInvalid, ResourceLocked, resource_type="text", resource_id="text"),
    *each(locked, SagaInvalid, ResourceLocked, resource_id="number"),
    *(case for name in OF_SAGA for case in each(decided(name), *REFUSED, **WORDS)),
    *(
        case
        for name in OF_STEP
        for case in each(decided(name, step="act"), *REFUSED, step="text", **WORDS)
    ),
    *each(decided("skip_step", step="act"), *REFUSED, output="json"),
    *each(decided("mark_done", step="act"), *REFUSED, output="json"),
    *each(decided("extend_deadline", until=None), *REFUSED, until="instant", **WORDS),
    *each(inspection.detail, SagaNotFound, saga="id"),
    *each(found, ValueError, kind="text", correlation_id="text", key="text"),
    *each(listed, ValueError, limit="number"),
    *each(kept, ValueError, sagas="span", failed="span", audit="span"),
    *each(pruned, ValueError, batch="number"),
]


@pytest.mark.parametrize(
    ("kind", "call", "documented"), [pytest.param(*rest, id=name) for name, *rest in CASES]
)
def test_hostile_values_are_taken_or_refused_in_words(
    kind: str, call: Any, documented: tuple[type[BaseException], ...]
) -> None:
    assert complaints(call, kind, *documented) == []


def test_no_deadline_is_stored_that_could_not_be_read_again() -> None:
    """As a time of the year 10000 in UTC, which every later reading of the row would fail at."""
    last = datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-12)))
    saga = start("PLAIN")

    with pytest.raises(SagaInvalid, match="between the years 1970 and 9000"):
        actions.extend_deadline(saga, last, **WHY)
    actions.extend_deadline(saga, datetime(9000, 12, 31, tzinfo=UTC), **WHY)

    run_sagas()
    assert SagaModel.objects.get(pk=saga).outcome == "COMPLETED"


def test_what_a_person_typed_is_kept_without_secrets() -> None:
    saga = start("PLAIN")

    actions.cancel(saga, reason="password=hunter2", actor="ada")

    row = SagaModel.objects.get(pk=saga)
    told = inspection.detail(saga).events[-1]
    assert row.error_message == "password=[redacted]"
    assert told.payload["reason"] == "password=[redacted]"
