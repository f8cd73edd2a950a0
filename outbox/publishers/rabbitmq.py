"""To an exchange of RabbitMQ, through aio-pika: confirmed, mandatory, persistent.

A message is the whole event as CloudEvents JSON; ``message_id`` is the event's id, ``type`` its
type. An event that no queue is bound for is a dead letter with the code ``unroutable``: without
``mandatory`` the broker would confirm it and throw it away.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from outbox.envelope import CONTENT_TYPE, structured
from outbox.events import Event
from outbox.outcomes import DELIVERED, Outcome, down, permanent
from outbox.publishers import options
from outbox.publishers.concurrent import ConcurrentPublisher, Unreachable
from outbox.publishers.names import Template
from outbox.publishers.streams import BrokerUnreachable, StreamReport

try:
    import aio_pika
    from aio_pika import exceptions
except ImportError as error:
    raise options.extra_missing("RabbitMQPublisher", "rabbitmq", error) from error

LONGEST_ROUTING_KEY = 255
LONGEST_NAME = 255
_TOO_LARGE = re.compile(r"message size (\d+) is larger than")
#: What aio-pika raises where a connection or a channel is gone, or cannot be made.
_LOST = (*exceptions.CONNECTION_EXCEPTIONS, TimeoutError)


class RabbitMQPublisher(ConcurrentPublisher):
    """Options: URL, EXCHANGE, ROUTING_KEY, TIMEOUT, IN_FLIGHT."""

    def __init__(
        self,
        *,
        source: str,
        namespace: str,
        exchange: str,
        url: str = "amqp://guest:guest@127.0.0.1:5672/",
        routing_key: str = "{aggregate_type}.{event_type}",
        timeout: float = 5,
        in_flight: int = 256,
    ) -> None:
        super().__init__(
            in_flight=options.in_flight(in_flight), timeout=options.seconds("timeout", timeout)
        )
        self._envelope = {"source": source, "namespace": namespace}
        self._url = _url(url)
        self._exchange = options.text("exchange", exchange)
        if len(exchange.encode()) > LONGEST_NAME:
            raise options.invalid("exchange", exchange, f"a name of at most {LONGEST_NAME} bytes")
        try:
            self._routing_key = Template(options.text("routing_key", routing_key))
        except ValueError as error:
            raise options.OptionInvalid(f"the option ROUTING_KEY: {error}") from error

    async def connect(self) -> RabbitMQConnection:
        try:
            client = await aio_pika.connect(self._url, timeout=self._timeout)
        except _LOST as error:
            raise self._unreachable(error) from error
        try:
            channel = await client.channel(publisher_confirms=True, on_return_raises=True)
            exchange = await channel.get_exchange(self._exchange, ensure=True)
        except BaseException as error:
            await _close(client)
            if isinstance(error, exceptions.ChannelNotFoundEntity):
                raise Unreachable(_missing(self._exchange)) from error
            if isinstance(error, _LOST):
                raise self._unreachable(error) from error
            raise
        return RabbitMQConnection(client, channel, exchange, self._message)

    def check_stream(self) -> StreamReport:
        return self._ask(self._check)

    def create_stream(self) -> StreamReport:
        return self._ask(self._create)

    def _message(self, event: Event) -> tuple[str, aio_pika.Message]:
        message = aio_pika.Message(
            structured(event, **self._envelope).encode(),
            content_type=CONTENT_TYPE,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            message_id=str(event.id),
            timestamp=event.created_at,
            type=event.event_type,
        )
        return self._routing_key.of(event), message

    def _unreachable(self, error: Exception) -> Unreachable:
        if isinstance(error, TimeoutError):
            message = f"RabbitMQ at {self._where} did not answer within {self._timeout:g} s."
            return Unreachable(down("timeout", message))
        words = str(error).rstrip(".") or type(error).__name__
        return Unreachable(down("unreachable", f"RabbitMQ at {self._where}: {words}."))

    @property
    def _where(self) -> str:
        return urlsplit(self._url).netloc.rpartition("@")[2]

    def _ask(self, question: Callable[[Any], Awaitable[StreamReport]]) -> StreamReport:
        async def asked() -> StreamReport:
            try:
                async with asyncio.timeout(self._timeout):
                    client = await aio_pika.connect(self._url, timeout=self._timeout)
                    async with client:
                        return await question(client)
            except _LOST as error:
                raise BrokerUnreachable(str(self._unreachable(error))) from error

        return asyncio.run(asked())

    async def _check(self, client: Any) -> StreamReport:
        try:
            channel = await client.channel()
            await channel.get_exchange(self._exchange, ensure=True)
        except exceptions.ChannelNotFoundEntity:
            return StreamReport([], [f"There is no exchange {self._exchange!r}."])
        # What is bound to it, AMQP does not tell; an event that nothing is bound for comes back.
        return StreamReport([f"The exchange {self._exchange!r} is there."])

    async def _create(self, client: Any) -> StreamReport:
        lines = []
        found = await self._check(client)
        channel = await client.channel()
        if found.problems:
            exchange = await channel.declare_exchange(
                self._exchange, aio_pika.ExchangeType.TOPIC, durable=True
            )
            lines.append(f"Made the exchange {self._exchange!r}: topic, durable.")
        else:
            exchange = await channel.get_exchange(self._exchange)
            lines.append(f"{found.lines[0][:-1]} already, and was left as it is.")
        try:
            await (await client.channel()).get_queue(self._exchange, ensure=True)
            lines.append(f"The queue {self._exchange!r} is there already, and was left as it is.")
        except exceptions.ChannelNotFoundEntity:
            queue = await channel.declare_queue(
                self._exchange, durable=True, arguments={"x-queue-type": "quorum"}
            )
            await queue.bind(exchange, routing_key="#")
            lines.append(f"Made the queue {self._exchange!r}: quorum, bound with '#'.")
        return StreamReport(lines)


class RabbitMQConnection:
    """One connection with one channel, both thrown away when either is closed."""

    def __init__(
        self,
        client: Any,
        channel: Any,
        exchange: Any,
        message: Callable[[Event], tuple[str, aio_pika.Message]],
    ) -> None:
        self.lost: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._client = client
        self._exchange = exchange
        self._message = message
        client.close_callbacks.add(self._on_closed)
        channel.close_callbacks.add(self._on_closed)

    async def send(self, event: Event) -> Outcome:
        routing_key, message = self._message(event)
        if len(routing_key.encode()) > LONGEST_ROUTING_KEY:
            return permanent(
                "routing_key_too_long",
                f"The routing key has {len(routing_key.encode())} bytes; RabbitMQ takes "
                f"{LONGEST_ROUTING_KEY}.",
            )
        try:
            await self._exchange.publish(message, routing_key, mandatory=True)
        except exceptions.PublishError:
            return permanent(
                "unroutable",
                f"No queue is bound to the exchange {self._exchange.name!r} for the routing key "
                f"{routing_key!r}.",
            )
        except exceptions.DeliveryError:
            # A queue that is full and refuses, or a broker in trouble: it is not about the event.
            return down("refused", "RabbitMQ refused it (nack): a queue is full or failing.")
        except _LOST as error:
            return self._lost(error, len(message.body))
        return DELIVERED

    async def close(self) -> None:
        await _close(self._client)

    def _lost(self, error: Exception, size: int) -> Outcome:
        if isinstance(error, exceptions.ChannelNotFoundEntity):
            return _missing(self._exchange.name)
        found = _TOO_LARGE.search(str(error))
        if found and int(found[1]) == size:
            # It takes the channel, and so the other messages on their way, with it.
            return permanent("message_too_large", f"RabbitMQ refused it: {error}.")
        words = str(error).rstrip(".") or type(error).__name__
        return down("connection_lost", f"The connection to RabbitMQ was lost: {words}.")

    def _on_closed(self, _sender: object, error: BaseException | None) -> None:
        if not self.lost.done():
            reason = error if isinstance(error, Exception) else ConnectionError("it was closed")
            self.lost.set_result(self._lost(reason, -1))


def _missing(exchange: str) -> Outcome:
    return down(
        "exchange_missing",
        f"RabbitMQ has no exchange {exchange!r}. Make it: manage.py outbox_stream create.",
    )


async def _close(client: Any) -> None:
    with suppress(Exception):
        await client.close()


def _url(value: Any) -> str:
    # It may hold a password, so it is not repeated.
    try:
        parts = urlsplit(options.text("url", value))
        good = parts.scheme in {"amqp", "amqps"} and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        good = False
    if not good:
        raise options.OptionInvalid("the option URL is not like amqp://user:password@host:5672/.")
    return str(value)
