"""What is RabbitMQ's own: what a message carries, queues that refuse, exchanges that go."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import aio_pika
import pytest

from outbox.outcomes import DELIVERED, Kind
from outbox.publishers.rabbitmq import RabbitMQPublisher
from tests.outbox.publishers.events import SOURCE, make_event, make_events
from tests.outbox.publishers.rigs import RabbitMQRig, rig_of


@pytest.fixture
def rig() -> Iterator[RabbitMQRig]:
    with rig_of("rabbitmq") as made:
        assert isinstance(made, RabbitMQRig)
        yield made


async def _on_channel(work: Any) -> Any:
    async with await aio_pika.connect(RabbitMQRig.url) as client:
        return await work(await client.channel())


def on_channel(work: Any) -> Any:
    """Run a coroutine function with a channel that goes past the proxy."""
    return asyncio.run(_on_channel(work))


class TestMessage:
    def test_what_it_carries(self, rig: RabbitMQRig) -> None:
        event = make_event()

        assert rig.make().send_batch([event]) == [DELIVERED]

        async def take(channel: Any) -> Any:
            return await (await channel.get_queue(rig.unique)).get(no_ack=True)

        message = on_channel(take)
        assert message.routing_key == "ORDER.OrderPlaced"
        assert message.message_id == str(event.id)
        assert message.type == "OrderPlaced"
        assert message.content_type == "application/cloudevents+json"
        assert message.delivery_mode is aio_pika.DeliveryMode.PERSISTENT
        assert message.timestamp == event.created_at

    def test_a_type_with_dots_is_one_word_of_the_routing_key(self, rig: RabbitMQRig) -> None:
        (outcome,) = rig.make().send_batch([make_event(event_type="x.OrderPlaced")])

        # Nothing but "*.OrderPlaced" is bound, and the star is one word.
        assert outcome.code == "unroutable"
        assert "'ORDER.x%2EOrderPlaced'" in outcome.message

    def test_a_routing_key_that_is_too_long(self, rig: RabbitMQRig) -> None:
        long = make_event(event_type="ż" * 50)

        outcomes = rig.make().send_batch([long, make_event()])

        assert [outcome.kind for outcome in outcomes] == [Kind.PERMANENT, Kind.DELIVERED]
        assert outcomes[0].code == "routing_key_too_long"


class TestRefusal:
    def test_a_queue_that_is_full_holds_everything_up(self, rig: RabbitMQRig) -> None:
        async def bind_a_small_one(channel: Any) -> None:
            await channel.queue_delete(rig.unique)
            queue = await channel.declare_queue(
                rig.unique,
                durable=True,
                arguments={"x-max-length": 2, "x-overflow": "reject-publish"},
            )
            await queue.bind(rig.unique, "#")

        on_channel(bind_a_small_one)

        outcomes = rig.make(in_flight=1).send_batch(make_events(keys=4, each=1))

        assert outcomes[:2] == [DELIVERED] * 2
        assert (outcomes[2].kind, outcomes[2].code) == (Kind.DOWN, "refused")
        assert outcomes[3].kind is Kind.HELD

    def test_an_exchange_that_is_deleted_meanwhile(self, rig: RabbitMQRig) -> None:
        publisher = rig.make()
        assert publisher.send_batch([make_event()]) == [DELIVERED]
        on_channel(lambda channel: channel.exchange_delete(rig.unique))

        first = publisher.send_batch(make_events(keys=5, each=1))
        second = publisher.send_batch(make_events(keys=5, each=1))

        for outcomes in (first, second):
            assert (outcomes[0].kind, outcomes[0].code) == (Kind.DOWN, "exchange_missing")
            assert {outcome.kind for outcome in outcomes} <= {Kind.DOWN, Kind.HELD}

    @pytest.mark.slow
    def test_a_message_that_is_too_large_among_others(self, rig: RabbitMQRig) -> None:
        """It takes the channel with it; the others come again on the next one."""
        large, others = rig.too_large(make_event().aggregate_id), make_events(keys=3, each=1)

        outcomes = rig.make().send_batch([*others, large])

        assert outcomes[3].kind is Kind.PERMANENT
        assert {outcome.kind for outcome in outcomes[:3]} <= {Kind.DELIVERED, Kind.DOWN}

    def test_a_wrong_password_is_told_without_it(self, rig: RabbitMQRig) -> None:
        publisher = RabbitMQPublisher(
            **SOURCE, exchange=rig.unique, url="amqp://guest:hunter2@127.0.0.1:5672/"
        )
        (outcome,) = publisher.send_batch([make_event()])
        publisher.close()

        assert (outcome.kind, outcome.code) == (Kind.DOWN, "unreachable")
        assert "127.0.0.1:5672" in outcome.message
        assert "hunter2" not in outcome.message
