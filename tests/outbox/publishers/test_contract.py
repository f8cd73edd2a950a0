"""What every publisher keeps to, each against its real destination.

CASES says which case applies to which publisher; docs/reference/outbox_publishers.md has the same
table. A case that does not apply has its reason there.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from outbox.conf import Destination, read
from outbox.events import Event
from outbox.outcomes import DELIVERED, HELD, Kind, Outcome
from outbox.publishers import publisher_of
from outbox.publishers.options import OptionInvalid
from tests.outbox import cloud_events
from tests.outbox.publishers.events import make_event, make_events
from tests.outbox.publishers.rigs import IMPATIENT, RIGS, Message, ProxiedRig, Rig, rig_of
from tests.processes import eventually

PAGE = Path(__file__).resolve().parents[3] / "docs/reference/outbox_publishers.md"
ALL = tuple(RIGS)
REMOTE = ("webhook", "nats", "rabbitmq", "redis")

#: Which case applies to which publisher.
CASES: dict[str, tuple[str, ...]] = {
    "delivered": ALL,
    "rejected": ("callable", "webhook", "redis"),
    "permanent": ("callable", "webhook", "nats", "rabbitmq"),
    "transport down": ALL,
    "slow": REMOTE,
    "half a batch": REMOTE,
    "message too large": ("webhook", "nats", "rabbitmq"),
    "unroutable": ("rabbitmq",),
    "stream missing": ("nats", "rabbitmq"),
    "order under failure": ("callable", *REMOTE),
    "reconnect": ("callable", *REMOTE),
    "close twice": ALL,
    "wrong options": ALL,
}


def applies(case: str) -> Any:
    return pytest.mark.parametrize("rig", CASES[case], indirect=True)


@pytest.fixture
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    with rig_of(request.param) as made:
        yield made


def envelope(message: Message) -> CloudEvent:
    """It fits the schema, and somebody else's code, which refuses what is no CloudEvent, reads
    it."""
    cloud_events.check(message.envelope)
    found = JSONFormat().read(CloudEvent, message.envelope)
    assert isinstance(found, CloudEvent)
    return found


def arrived(rig: Rig) -> list[str]:
    return [envelope(message).get_id() for message in rig.received()]


def kinds(outcomes: Sequence[Outcome]) -> list[Kind]:
    return [outcome.kind for outcome in outcomes]


def ids(events: Sequence[Event]) -> list[str]:
    return [str(event.id) for event in events]


def check_order(rig: Rig, events: Sequence[Event]) -> None:
    """What has arrived of each key is the first of its events, in their order."""
    received = arrived(rig)
    for key in {event.key for event in events}:
        wanted = ids([event for event in events if event.key == key])
        found = [one for one in received if one in wanted]
        assert found == wanted[: len(found)]


class TestDelivered:
    @applies("delivered")
    def test_every_event_arrives_once_and_in_order(self, rig: Rig) -> None:
        events = make_events(keys=5, each=4)

        outcomes = rig.make().send_batch(events)

        assert outcomes == [DELIVERED] * 20
        assert sorted(arrived(rig)) == sorted(ids(events))
        check_order(rig, events)

    @applies("delivered")
    def test_the_envelope_is_a_cloud_event(self, rig: Rig) -> None:
        payload = {
            "text": 'quotes " and \\, a\nbreak, ünï¢ødé 🚚, % {x}',
            "numbers": [1, 2.5, None],
        }
        event = make_event(
            payload=payload,
            subject='order № 7 "x"',
            idempotency_key="key-1",
            metadata={"correlation_id": "c-1", "traceparent": "00-ab-cd-01"},
        )

        assert rig.make().send_batch([event]) == [DELIVERED]

        (message,) = rig.received()
        found = envelope(message)
        assert message.id in {str(event.id), None}
        assert found.get_id() == str(event.id)
        assert found.get_source() == "/shop/ORDER"
        assert found.get_type() == "example.shop.OrderPlaced.v1"
        assert found.get_subject() == 'order № 7 "x"'
        assert found.get_time() == event.created_at
        assert found.get_datacontenttype() == "application/json"
        assert found.get_data() == payload
        extensions = {
            "partitionkey": str(event.aggregate_id),
            "sequence": f"{event.seq:020d}",
            "idempotencykey": "key-1",
            "correlationid": "c-1",
            "traceparent": "00-ab-cd-01",
        }
        assert {name: found.get_extension(name) for name in extensions} == extensions

    @applies("delivered")
    def test_nothing_to_send(self, rig: Rig) -> None:
        assert list(rig.make().send_batch([])) == []


class TestRejected:
    @applies("rejected")
    def test_it_may_be_taken_later(self, rig: Rig) -> None:
        refused, other = rig.refused(uuid.uuid4()), make_event()

        outcomes = rig.make().send_batch([refused, other])

        assert kinds(outcomes) == [Kind.REJECTED, Kind.DELIVERED]
        assert outcomes[0].code
        assert outcomes[0].message
        assert arrived(rig) == ids([other])


class TestPermanent:
    @applies("permanent")
    def test_it_is_never_taken(self, rig: Rig) -> None:
        refused, other = rig.permanent(uuid.uuid4()), make_event()

        outcomes = rig.make().send_batch([refused, other])

        assert kinds(outcomes) == [Kind.PERMANENT, Kind.DELIVERED]
        assert outcomes[0].code
        assert outcomes[0].message
        assert arrived(rig) == ids([other])


class TestDown:
    @applies("transport down")
    def test_no_event_is_to_blame_and_it_is_told_quickly(self, rig: Rig) -> None:
        publisher = rig.make()
        rig.go_down()
        begun = time.monotonic()

        outcomes = publisher.send_batch(make_events(keys=50, each=2))

        # A time limit for each event would take minutes.
        assert time.monotonic() - begun < 20
        assert outcomes[0].kind is Kind.DOWN
        assert outcomes[0].code
        assert outcomes[0].message
        assert set(kinds(outcomes)) <= {Kind.DOWN, Kind.HELD}

    @applies("reconnect")
    def test_it_connects_anew_by_itself(self, rig: Rig) -> None:
        publisher = rig.make()
        events = make_events(keys=3, each=2)
        assert publisher.send_batch(events[:3]) == [DELIVERED] * 3
        rig.go_down()
        assert publisher.send_batch(events[3:])[0].kind is Kind.DOWN
        assert publisher.send_batch(events[3:])[0].kind is Kind.DOWN

        rig.come_back()

        assert eventually(lambda: publisher.send_batch(events[3:]) == [DELIVERED] * 3)
        check_order(rig, events)
        assert set(arrived(rig)) == set(ids(events))


class TestSlow:
    @applies("slow")
    def test_what_is_not_confirmed_is_not_delivered(self, rig: ProxiedRig) -> None:
        publisher = rig.make(timeout=IMPATIENT)
        assert publisher.send_batch([make_event()]) == [DELIVERED]
        rig.proxy.hold()

        outcomes = publisher.send_batch(make_events(keys=20, each=2))

        rig.proxy.release()
        assert outcomes[0].kind is Kind.DOWN
        assert outcomes[0].code == "timeout"
        assert f"{IMPATIENT:g} s" in outcomes[0].message
        assert set(kinds(outcomes)) <= {Kind.DOWN, Kind.HELD}
        assert eventually(lambda: publisher.send_batch([make_event()]) == [DELIVERED])

    @applies("slow")
    def test_an_answer_that_never_comes_to_the_first_event(self, rig: ProxiedRig) -> None:
        publisher = rig.make(timeout=IMPATIENT)
        rig.proxy.hold()

        outcomes = publisher.send_batch(make_events(keys=20, each=2))

        rig.proxy.release()
        assert outcomes[0].kind is Kind.DOWN
        assert outcomes[0].code == "timeout"
        assert set(kinds(outcomes)) <= {Kind.DOWN, Kind.HELD}


class TestHalfABatch:
    @applies("half a batch")
    def test_the_connection_is_cut_in_the_middle(self, rig: ProxiedRig) -> None:
        publisher = rig.make(in_flight=4)
        assert publisher.send_batch([make_event()]) == [DELIVERED]
        events = make_events(keys=10, each=10, payload={"text": "x" * 500})
        rig.proxy.cut_after = 50_000

        outcomes = publisher.send_batch(events)

        confirmed = [
            event
            for event, outcome in zip(events, outcomes, strict=True)
            if outcome.kind is Kind.DELIVERED
        ]
        assert 20 < len(confirmed) < 100
        assert Kind.DOWN in kinds(outcomes)
        assert set(kinds(outcomes)) == {Kind.DELIVERED, Kind.DOWN, Kind.HELD}
        assert set(ids(confirmed)) <= set(arrived(rig))
        check_order(rig, events)

    @applies("half a batch")
    def test_the_rest_follows_in_order(self, rig: ProxiedRig) -> None:
        publisher = rig.make(in_flight=4)
        assert publisher.send_batch([make_event()]) == [DELIVERED]
        events = make_events(keys=10, each=10, payload={"text": "x" * 500})
        rig.proxy.cut_after = 50_000
        left = events

        def all_sent() -> bool:
            nonlocal left
            outcomes = publisher.send_batch(left)
            pairs = zip(left, outcomes, strict=True)
            left = [event for event, outcome in pairs if outcome != DELIVERED]
            return not left

        assert eventually(all_sent)
        # What had arrived unconfirmed has come again; the first deliveries are in order.
        first = list(dict.fromkeys(arrived(rig)))
        assert set(ids(events)) <= set(first)
        for key in {event.key for event in events}:
            wanted = ids([event for event in events if event.key == key])
            assert [one for one in first if one in wanted] == wanted


class TestTooLarge:
    @pytest.mark.parametrize(
        "rig",
        [
            # It takes seconds to send 128 MiB to RabbitMQ, which alone has so large a limit.
            pytest.param(name, marks=[pytest.mark.slow] if name == "rabbitmq" else [])
            for name in CASES["message too large"]
        ],
        indirect=True,
    )
    def test_it_is_a_dead_letter_at_once(self, rig: Rig) -> None:
        key = uuid.uuid4()
        publisher = rig.make()

        (outcome,) = publisher.send_batch([rig.too_large(key)])

        assert outcome.kind is Kind.PERMANENT
        assert outcome.code in {"message_too_large", "http_413"}
        assert eventually(lambda: publisher.send_batch([make_event(key)]) == [DELIVERED])


class TestUnroutable:
    @applies("unroutable")
    def test_nobody_wants_it(self, rig: Rig) -> None:
        event = make_event(event_type="NobodyWantsIt")

        (outcome,) = rig.make().send_batch([event])

        assert outcome.kind is Kind.PERMANENT
        assert outcome.code == "unroutable"
        assert "'ORDER.NobodyWantsIt'" in outcome.message


class TestStreamMissing:
    @applies("stream missing")
    def test_it_is_down_until_somebody_makes_it(self, rig: Rig) -> None:
        name = {"NatsRig": "stream", "RabbitMQRig": "exchange"}[type(rig).__name__]
        publisher = rig.make(**{name: "no_such_thing"})

        outcomes = publisher.send_batch(make_events(keys=2, each=2))

        assert outcomes[0].kind is Kind.DOWN
        assert outcomes[0].code == f"{name}_missing"
        assert "manage.py outbox_stream create" in outcomes[0].message
        assert outcomes[1:] == [HELD] * 3


class TestOrder:
    @applies("order under failure")
    def test_behind_a_failure_its_key_is_held_and_others_go_on(self, rig: Rig) -> None:
        troubled, other = uuid.uuid4(), uuid.uuid4()
        events = [
            make_event(troubled),
            make_event(other),
            rig.refused(troubled),
            make_event(other),
            make_event(troubled),
            make_event(troubled),
            make_event(other),
        ]

        outcomes = rig.make().send_batch(events)

        assert kinds(outcomes)[:2] == [Kind.DELIVERED] * 2
        assert outcomes[2].kind in {Kind.REJECTED, Kind.PERMANENT}
        assert kinds(outcomes)[3:] == [Kind.DELIVERED, Kind.HELD, Kind.HELD, Kind.DELIVERED]
        assert sorted(arrived(rig)) == sorted(ids([events[place] for place in (0, 1, 3, 6)]))


class TestClose:
    @applies("close twice")
    def test_it_may_be_closed_twice_and_used_again(self, rig: Rig) -> None:
        publisher = rig.make()
        publisher.send_batch([make_event()])

        publisher.close()
        publisher.close()
        publisher.open()

        assert publisher.send_batch([make_event()]) == [DELIVERED]
        assert len(rig.received()) == 2

    @applies("transport down")
    def test_it_may_be_closed_after_a_failure(self, rig: Rig) -> None:
        publisher = rig.make()
        rig.go_down()
        publisher.send_batch([make_event()])

        publisher.close()
        publisher.close()


class TestOptions:
    @pytest.mark.parametrize("name", CASES["wrong options"])
    def test_an_option_that_there_is_not(self, name: str) -> None:
        class_name = RIGS[name].__name__.replace("Rig", "Publisher")
        destination = Destination(
            name="billing",
            publisher=f"outbox.publishers.{name}.{class_name}",
            options={"COLOUR": "red"},
        )

        with pytest.raises(OptionInvalid) as caught:
            publisher_of(destination, read({}))

        message = str(caught.value)
        assert message.startswith("Destination 'billing': there is no option COLOUR;")


def test_the_page_has_the_same_table() -> None:
    lines = [line.strip("| ").split(" | ") for line in PAGE.read_text().splitlines()]
    (head,) = [line for line in lines if line[0] == "Case"]
    rows = {line[0]: line[1:] for line in lines if len(line) == len(head) and line[0] in CASES}

    assert tuple(head[1:]) == ALL
    told = {
        case: tuple(name for name, cell in zip(ALL, cells, strict=True) if cell == "yes")
        for case, cells in rows.items()
    }
    assert told == CASES
    # What does not apply has a reason, and a number leads to one.
    assert all(cell.strip() for cells in rows.values() for cell in cells)
    numbers = {int(one) for one in re.findall(r"\((\d)\)", str(rows))}
    notes = {int(one) for one in re.findall(r"^(\d)\. ", PAGE.read_text(), flags=re.MULTILINE)}
    assert numbers == notes
