from __future__ import annotations

from typing import Any

import pytest

from outbox.events import EventInvalid
from outbox.outcomes import rejected
from outbox.services import dead_letters
from outbox.services.dead_letters import (
    AlreadyDealtWith,
    NoSuchDeadLetter,
)
from outbox.services.dead_letters.resending import merge_patch
from outbox.states import DeadLetterState
from tests.outbox.conftest import Outbox
from tests.outbox.dead import JOB, OTHER, die, event_of, refusing
from tests.outbox.test_dead_letters.kit import BY, state


class TestEditAndResend:
    def test_a_copy_takes_its_place(self, inside: Outbox) -> None:
        metadata = {"correlation_id": "c", "causation_id": "before"}
        (event_id,) = inside.publish("order 7", 1, idempotency_key="k", metadata=metadata)
        inside.publish("order 7", 2, 3)
        inside.drain(refusing(1))
        letter = dead_letters.get(event_id).letter

        copy = dead_letters.edit_and_resend(letter.id, payload={"n": 10}, **BY)

        recorder = inside.drain()
        assert recorder.numbers == [10, 2, 3]
        event = recorder.delivered[0]
        assert event.id == copy != event_id
        assert (event.seq, event.subject, event.idempotency_key) == (letter.seq, "order 7", None)
        assert event.metadata == {"correlation_id": "c", "causation_id": str(event_id)}
        assert state(letter.id) is DeadLetterState.RESENT
        assert dead_letters.get(letter.id).actions[-1].details == {"event_id": str(copy)}
        assert inside.value("SELECT count(*) FROM outbox_keys") == 0

    def test_nothing_passes_the_copy_while_it_is_tried(self, inside: Outbox) -> None:
        letter = die(inside, JOB, 1, 2)
        dead_letters.edit_and_resend(letter, payload={"n": 10}, **BY)

        assert inside.drain(refusing(10, outcome=rejected("busy", "later"))).numbers == []

        inside.execute("UPDATE outbox_keys SET retry_at = now()")
        assert inside.drain().numbers == [10, 2]

    def test_the_copy_may_die_as_well(self, inside: Outbox) -> None:
        letter = die(inside, JOB, 1, 2)
        copy = dead_letters.edit_and_resend(letter, payload={"n": 10}, **BY)
        inside.drain(refusing(10))

        found = dead_letters.get(copy)

        assert found.letter.id != letter
        assert (found.followers, found.letter.holds) == (1, True)
        assert found.metadata == {"causation_id": str(event_of(inside, letter))}

    def test_where_nothing_waits_it_goes_last(self, inside: Outbox) -> None:
        letter = die(inside, JOB, 1, 2)
        dead_letters.discard(letter, **BY)
        dead_letters.restore(letter, **BY)

        dead_letters.edit_and_resend(letter, payload={"n": 10}, **BY)

        assert inside.drain().numbers == [2, 10]

    def test_it_goes_where_the_original_was_to_go(self, inside: Outbox, settings: Any) -> None:
        letter = die(inside, JOB, 1)
        publisher = {"PUBLISHER": "outbox.publishers.console.ConsolePublisher"}
        settings.HODEI_OUTBOX = {"DESTINATIONS": {"new": publisher}, "ROUTES": {"*": "new"}}

        dead_letters.edit_and_resend(letter, payload={"n": 10}, **BY)

        assert inside.drain().numbers == [10]

    def test_metadata_of_ones_own(self, inside: Outbox) -> None:
        letter = die(inside, JOB, 1)

        dead_letters.edit_and_resend(letter, payload={"n": 10}, metadata={"a": 1}, **BY)

        (event,) = inside.drain().delivered
        assert event.metadata == {"a": 1, "causation_id": str(event_of(inside, letter))}

    @pytest.mark.parametrize(
        ("payload", "told"),
        [
            ({"n": float("nan")}, "payload cannot be JSON"),
            ({"n": "\0"}, "NUL"),
            ({"n": "x" * 300_000}, "at most 262,144 are allowed"),
            ({"n": object()}, "payload cannot be JSON"),
            ({"n": 1, "token": "[redacted]"}, "screens put in place of secrets"),
        ],
    )
    def test_bad_payloads_change_nothing(self, inside: Outbox, payload: Any, told: str) -> None:
        letter = die(inside, JOB, 1)

        with pytest.raises(EventInvalid, match=told):
            dead_letters.edit_and_resend(letter, payload=payload, **BY)

        assert state(letter) is DeadLetterState.OPEN
        assert inside.value("SELECT count(*) FROM outbox_events") == 1

    def test_a_second_time(self, inside: Outbox) -> None:
        letter = die(inside, JOB, 1)
        dead_letters.edit_and_resend(letter, payload={"n": 10}, **BY)

        with pytest.raises(AlreadyDealtWith, match="was resent by anna"):
            dead_letters.edit_and_resend(letter, payload={"n": 11}, **BY)
        with pytest.raises(NoSuchDeadLetter):
            dead_letters.edit_and_resend(OTHER, payload={"n": 11}, **BY)


@pytest.mark.parametrize(
    ("value", "patch", "result"),
    [
        # The examples of RFC 7396, appendix A.
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(value: Any, patch: Any, result: Any) -> None:
    assert merge_patch(value, patch) == result
