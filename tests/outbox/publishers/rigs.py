"""For each publisher a destination that the test can look into, and can put out of reach."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import socket
import sys
import uuid
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, NamedTuple, TypeVar

import pytest

from outbox.events import Event
from outbox.publishers import Publisher
from outbox.publishers.callable import CallablePublisher, Unavailable, Undeliverable
from outbox.publishers.console import ConsolePublisher
from outbox.publishers.nats import NatsPublisher
from outbox.publishers.rabbitmq import RabbitMQPublisher
from outbox.publishers.redis import RedisPublisher
from outbox.publishers.webhook import WebhookPublisher
from tests.outbox.publishers.endpoint import Endpoint
from tests.outbox.publishers.events import SOURCE, make_event
from tests.schema.proxy import Proxy

PORTS = {"nats": 4222, "rabbitmq": 5672, "redis": 6379}
SECRET = "whsec_" + base64.b64encode(b"a secret of this test, long enough").decode()
#: Seconds; for a case in which nothing answers.
IMPATIENT = 0.5

T = TypeVar("T")


class Message(NamedTuple):
    """What has arrived: the envelope, and the id that the transport itself carries."""

    envelope: bytes
    id: str | None


def require(broker: str) -> None:
    """Skip the test without the broker, or fail it where HODEI_REQUIRE names it."""
    try:
        socket.create_connection(("127.0.0.1", PORTS[broker]), timeout=5).close()
    except OSError as error:
        message = f"{broker} does not answer on 127.0.0.1:{PORTS[broker]} ({error})"
        if broker in os.environ.get("HODEI_REQUIRE", "").split(","):
            pytest.fail(f"HODEI_REQUIRE names {broker}: {message}.")
        pytest.skip(message)


class Rig(ABC):
    """A publisher's destination; what a publisher lacks is told by the table of cases."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.unique = f"test_{uuid.uuid4().hex[:12]}"

    @abstractmethod
    def make(self, **options: Any) -> Publisher:
        """A publisher to this destination; it is closed by the rig."""

    @abstractmethod
    def received(self) -> list[Message]:
        """All that has arrived, in order."""

    def refused(self, key: uuid.UUID) -> Event:
        """An event that is rejected, or if there are none, one that is permanently so."""
        raise NotImplementedError

    def permanent(self, key: uuid.UUID) -> Event:
        raise NotImplementedError

    def too_large(self, key: uuid.UUID) -> Event:
        raise NotImplementedError

    def go_down(self) -> None:
        """Make the destination unreachable."""
        raise NotImplementedError

    def come_back(self) -> None:
        raise NotImplementedError

    def closing(self, publisher: Publisher) -> Publisher:
        self.stack.callback(publisher.close)
        publisher.open()
        return publisher


class ProxiedRig(Rig):
    """A destination behind a proxy of the test's own."""

    port: int

    def __init__(self, stack: ExitStack) -> None:
        super().__init__(stack)
        self.prepare()
        self.proxy = stack.enter_context(Proxy({"HOST": "127.0.0.1", "PORT": self.port}))
        self.proxy.open()

    def prepare(self) -> None:
        """Make what there must be, and know the port."""

    def go_down(self) -> None:
        self.proxy.close()

    def come_back(self) -> None:
        self.proxy.open()


class ConsoleRig(Rig):
    def __init__(self, stack: ExitStack) -> None:
        super().__init__(stack)
        self.stdout = io.StringIO()

    def make(self, **options: Any) -> Publisher:
        # Not sooner: pytest puts its own in place when the test begins.
        patch = self.stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(sys, "stdout", self.stdout)
        return self.closing(ConsolePublisher(**SOURCE, **options))

    def received(self) -> list[Message]:
        return [Message(line.encode(), None) for line in self.stdout.getvalue().splitlines()]

    def go_down(self) -> None:
        self.stdout.close()


class CallableRig(Rig):
    """A function that does as the payload says."""

    def __init__(self, stack: ExitStack) -> None:
        super().__init__(stack)
        self.events: list[Event] = []
        self.is_down = False

    def make(self, **options: Any) -> Publisher:
        return self.closing(CallablePublisher(**SOURCE, **{"function": self.handle, **options}))

    def handle(self, event: Event) -> None:
        if self.is_down:
            raise Unavailable("the warehouse is closed", retry_after=30)
        match event.payload.get("raise"):
            case "Undeliverable":
                raise Undeliverable("no such article")
            case "ValueError":
                raise ValueError("not now")
        self.events.append(event)

    def received(self) -> list[Message]:
        from outbox.envelope import structured

        return [Message(structured(one, **SOURCE).encode(), str(one.id)) for one in self.events]

    def refused(self, key: uuid.UUID) -> Event:
        return make_event(key, {"raise": "ValueError"})

    def permanent(self, key: uuid.UUID) -> Event:
        return make_event(key, {"raise": "Undeliverable"})

    def go_down(self) -> None:
        self.is_down = True

    def come_back(self) -> None:
        self.is_down = False


class WebhookRig(ProxiedRig):
    def prepare(self) -> None:
        self.endpoint = self.stack.enter_context(Endpoint())
        self.port = self.endpoint.port

    def make(self, **options: Any) -> Publisher:
        values: dict[str, Any] = {
            "url": f"http://127.0.0.1:{self.proxy.port}/hook?tenant=7",
            "secrets": [SECRET],
            "allow_private": ["127.0.0.0/8"],
        }
        return self.closing(WebhookPublisher(**SOURCE, **{**values, **options}))

    def received(self) -> list[Message]:
        return [Message(one.body, one.headers["webhook-id"]) for one in self.endpoint.took()]

    def refused(self, key: uuid.UUID) -> Event:
        return make_event(key, {"answer": 500, "body": "out of order"})

    def permanent(self, key: uuid.UUID) -> Event:
        return make_event(key, {"answer": 422})

    def too_large(self, key: uuid.UUID) -> Event:
        return make_event(key, {"answer": 413})


class NatsRig(ProxiedRig):
    port = PORTS["nats"]

    def prepare(self) -> None:
        require("nats")
        self.stack.callback(self.run, self._delete())

    def make(self, **options: Any) -> Publisher:
        values: dict[str, Any] = {
            "url": f"nats://127.0.0.1:{self.proxy.port}",
            "stream": self.unique,
            "subject": self.unique + ".{aggregate_type}.{event_type}",
        }
        NatsPublisher(**SOURCE, **{**values, "url": "nats://127.0.0.1:4222"}).create_stream()
        return self.closing(NatsPublisher(**SOURCE, **{**values, **options}))

    def received(self) -> list[Message]:
        return self.run(self._received())

    def refused(self, key: uuid.UUID) -> Event:
        return self.permanent(key)

    def permanent(self, key: uuid.UUID) -> Event:
        return self.too_large(key)

    def too_large(self, key: uuid.UUID) -> Event:
        # The server of the machine takes a mebibyte, as servers do unless told otherwise.
        return make_event(key, {"text": "x" * 1024 * 1024})

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run(work)

    async def _received(self) -> list[Message]:
        import nats

        client = await nats.connect("nats://127.0.0.1:4222")
        stream = client.jetstream()
        count = (await stream.stream_info(self.unique)).state.messages
        # In order and without gaps: that is what such a consumer sees to.
        reader = await stream.subscribe(f"{self.unique}.>", ordered_consumer=True)
        found = [await reader.next_msg(10) for _ in range(count)]
        await client.close()
        return [Message(one.data, (one.headers or {}).get("Nats-Msg-Id")) for one in found]

    async def _delete(self) -> None:
        import nats
        from nats.js.errors import NotFoundError

        client = await nats.connect("nats://127.0.0.1:4222")
        with suppress(NotFoundError):
            await client.jetstream().delete_stream(self.unique)
        await client.close()


class RabbitMQRig(ProxiedRig):
    port = PORTS["rabbitmq"]
    url = "amqp://guest:guest@127.0.0.1:5672/"

    def prepare(self) -> None:
        require("rabbitmq")
        asyncio.run(self._declare())
        self.stack.callback(lambda: asyncio.run(self._delete()))
        self._taken: list[Message] = []

    def make(self, **options: Any) -> Publisher:
        values: dict[str, Any] = {
            "url": f"amqp://guest:guest@127.0.0.1:{self.proxy.port}/",
            "exchange": self.unique,
        }
        return self.closing(RabbitMQPublisher(**SOURCE, **{**values, **options}))

    def received(self) -> list[Message]:
        asyncio.run(self._take())
        return self._taken

    def refused(self, key: uuid.UUID) -> Event:
        return self.permanent(key)

    def permanent(self, key: uuid.UUID) -> Event:
        return make_event(key, event_type="NobodyWantsIt")

    def too_large(self, key: uuid.UUID) -> Event:
        # 128 MiB is the limit of the server unless it is told otherwise.
        return make_event(key, data='"' + "x" * 128 * 1024 * 1024 + '"')

    async def _declare(self) -> None:
        import aio_pika

        async with await aio_pika.connect(self.url) as client:
            channel = await client.channel()
            exchange = await channel.declare_exchange(self.unique, "topic", durable=True)
            queue = await channel.declare_queue(self.unique, durable=True)
            await queue.bind(exchange, "*.OrderPlaced")

    async def _take(self) -> None:
        import aio_pika

        async with await aio_pika.connect(self.url) as client:
            queue = await (await client.channel()).get_queue(self.unique)
            while (message := await queue.get(no_ack=True, fail=False)) is not None:
                assert message.delivery_mode is aio_pika.DeliveryMode.PERSISTENT
                self._taken.append(Message(message.body, message.message_id))

    async def _delete(self) -> None:
        import aio_pika

        async with await aio_pika.connect(self.url) as client:
            channel = await client.channel()
            await channel.queue_delete(self.unique)
            await channel.exchange_delete(self.unique)


class RedisRig(ProxiedRig):
    port = PORTS["redis"]

    def prepare(self) -> None:
        import redis

        require("redis")
        self.client = redis.Redis(port=self.port, decode_responses=True)
        self.stack.callback(self.client.close)
        self.stack.callback(lambda: self.client.delete(*self.client.keys(f"{self.unique}*")))
        # Its last id is the last there can be: nothing can be added any more.
        self.client.xadd(f"{self.unique}:Exhausted", {"a": 1}, id=f"{2**64 - 1}-{2**64 - 1}")

    def make(self, **options: Any) -> Publisher:
        values: dict[str, Any] = {
            "url": f"redis://127.0.0.1:{self.proxy.port}/0",
            "stream": self.unique + ":{event_type}",
        }
        return self.closing(RedisPublisher(**SOURCE, **{**values, **options}))

    def received(self) -> list[Message]:
        found: Any = self.client.xrange(f"{self.unique}:OrderPlaced")
        return [Message(fields["event"].encode(), fields["id"]) for _, fields in found]

    def refused(self, key: uuid.UUID) -> Event:
        return make_event(key, event_type="Exhausted")


RIGS: dict[str, type[Rig]] = {
    "console": ConsoleRig,
    "callable": CallableRig,
    "webhook": WebhookRig,
    "nats": NatsRig,
    "rabbitmq": RabbitMQRig,
    "redis": RedisRig,
}


@contextmanager
def rig_of(name: str) -> Iterator[Rig]:
    with ExitStack() as stack:
        yield RIGS[name](stack)
