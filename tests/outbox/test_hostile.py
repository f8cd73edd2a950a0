"""Each service of the outbox, given what nobody should give it: see ``tests.hostile``."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from outbox.conf import Retention
from outbox.events import EventInvalid
from outbox.services import dead_letters, inbox, retention
from outbox.services.dead_letters import Deed, LetterFilter
from outbox.services.publish import Draft, publish, publish_many
from outbox.states import DeadLetterAction
from tests.hostile import Case, complaints, each
from tests.outbox.conftest import Outbox
from tests.outbox.dead import die

pytestmark = pytest.mark.django_db

EVENT: dict[str, Any] = {
    "event_type": "Counted",
    "aggregate_type": "JOB",
    "aggregate_id": 1,
    "payload": {"n": 1},
}
WHO: dict[str, Any] = {"by": "who", "note": "why"}
REFUSALS = (dead_letters.DeadLetterError, ValueError)


@pytest.fixture
def letter(inside: Outbox) -> uuid.UUID:
    return die(inside, 1, 1)


def published(**given: Any) -> uuid.UUID:
    return publish(**{**EVENT, **given})


def many(**given: Any) -> Any:
    return publish_many([Draft(**EVENT), Draft(**{**EVENT, **given})])


def within(**payload: Any) -> uuid.UUID:
    return publish(**{**EVENT, "payload": payload})


def seen(**given: Any) -> bool:
    with inbox.once(**{"consumer": "here", "event_id": "1", **given}) as first:
        return first


def filtered(**given: Any) -> Any:
    return dead_letters.list_letters(LetterFilter(**given))


def pruned(**given: Any) -> Any:
    return retention.prune(Retention(**given), dry_run=True)


def previewed(**given: Any) -> Any:
    return dead_letters.preview(LetterFilter(), **given)


CASES: list[Case] = [
    *each(published, EventInvalid, event_type="text", aggregate_type="text", aggregate_id="text"),
    *each(published, EventInvalid, payload="json", metadata="json", version="number"),
    *each(published, EventInvalid, idempotency_key="text"),
    *each(many, EventInvalid, payload="json", metadata="json", aggregate_id="number"),
    *each(within, EventInvalid, n="json", text="text", number="number"),
    *each(seen, ValueError, consumer="text", event_id="text"),
    *each(seen, ValueError, event_id="number"),
    *each(dead_letters.list_letters, ValueError, limit="number"),
    *each(dead_letters.get, dead_letters.NoSuchDeadLetter, letter_id="id"),
    *each(filtered, ValueError, state="text", error_class="text", event_type="text"),
    *each(filtered, ValueError, aggregate_type="text", aggregate_id="id", destination="text"),
    *each(filtered, ValueError, fingerprint="text", since="instant", before="instant"),
    *each(filtered, ValueError, requeued="number"),
    *each(previewed, ValueError, limit="number"),
    *each(pruned, ValueError, published_days="number", inbox_days="number"),
]
ACTS = (dead_letters.requeue, dead_letters.resolve, dead_letters.discard, dead_letters.restore)
FIELDS = {"letter_id": "id", "by": "text", "note": "text"}


@pytest.mark.parametrize(
    ("kind", "call", "documented"), [pytest.param(*rest, id=name) for name, *rest in CASES]
)
def test_hostile_values_are_taken_or_refused_in_words(
    inside: Outbox,
    kind: str,
    call: Callable[[Any], object],
    documented: tuple[type[BaseException], ...],
) -> None:
    assert complaints(call, kind, *documented) == []


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("field", FIELDS)
def test_decisions_about_a_dead_letter(
    letter: uuid.UUID, act: Callable[..., object], field: str
) -> None:
    def decide(value: Any) -> object:
        return act(**{"letter_id": letter, **WHO, field: value})

    assert complaints(decide, FIELDS[field], *REFUSALS) == []


@pytest.mark.parametrize(
    ("field", "kind"), [*FIELDS.items(), ("payload", "json"), ("metadata", "json")]
)
def test_a_copy_of_a_dead_letter(letter: uuid.UUID, field: str, kind: str) -> None:
    given: dict[str, Any] = {"letter_id": letter, "payload": {"n": 2}, **WHO}

    def resend(value: Any) -> object:
        return dead_letters.edit_and_resend(**{**given, field: value})

    assert complaints(resend, kind, *REFUSALS) == []


@pytest.mark.parametrize("word", ["", "\0", "\ud800", "x" * 10**6, "../..", "0" * 7, None, 7, b"x"])
def test_words_that_are_no_ids(inside: Outbox, word: Any) -> None:
    with pytest.raises(dead_letters.NoSuchDeadLetter) as refused:
        dead_letters.identify([word])

    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("limit", [0, -1, True, 2**63, 1.5, "1"])
def test_limits_of_bulk_actions(inside: Outbox, limit: Any) -> None:
    deed = Deed(action=DeadLetterAction.DISCARDED, by="who", note="why")

    with pytest.raises(ValueError, match=r"The limit is .*give 1 to 1,000,000,000"):
        dead_letters.act_where(LetterFilter(), deed, limit=limit)


@pytest.mark.parametrize("rate", [0, -1, True, float("nan"), float("inf"), "1", 1j])
def test_rates_of_bulk_actions(inside: Outbox, rate: Any) -> None:
    deed = Deed(action=DeadLetterAction.DISCARDED, by="who", note="why")

    with pytest.raises(ValueError, match="The rate is"):
        dead_letters.act_where(LetterFilter(), deed, rate=rate)


@pytest.mark.parametrize("batch", [0, -1, True, 2**63, "1", None])
def test_batches_of_the_retention(inside: Outbox, batch: Any) -> None:
    with pytest.raises(ValueError, match="batch is"):
        retention.prune(batch=batch)


def test_a_patch_nested_without_end_is_refused(letter: uuid.UUID) -> None:
    from outbox.services.dead_letters.resending import merge_patch

    deep: Any = {}
    for _ in range(400):
        deep = {"n": deep}

    with pytest.raises(EventInvalid, match="nested more than 100 levels deep"):
        merge_patch({}, deep)


def test_keys_that_look_alike_are_different_aggregates(inside: Outbox) -> None:
    keys = ["key", "KEY", "key ", "\u200bkey", "k\u00e9y", "ke\u0301y", "7", 7]

    for key in keys:
        publish(**{**EVENT, "aggregate_id": key})

    found = inside.rows("SELECT count(DISTINCT aggregate_id), count(*) FROM outbox_events")
    assert found == [(len(keys) - 1, len(keys))]
