"""To a stream of NATS JetStream, through nats-py.

A message is the whole event as CloudEvents JSON, with three headers: ``Nats-Msg-Id`` (the event's
id, by which the stream drops what it has already), ``Nats-Expected-Stream`` (so that no other
stream can take it), ``content-type``. A confirmation that says "duplicate" counts as delivered.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib import import_module
from math import ceil
from typing import Any
from urllib.parse import urlsplit

from outbox.envelope import CONTENT_TYPE, structured
from outbox.events import Event
from outbox.outcomes import DELIVERED, Outcome, down, permanent, rejected
from outbox.publishers import options
from outbox.publishers.concurrent import ConcurrentPublisher, Unreachable
from outbox.publishers.names import Template
from outbox.publishers.streams import BrokerUnreachable, StreamReport

try:
    from nats import errors
    from nats.aio.client import Client
    from nats.js.errors import NotFoundError, ServiceUnavailableError

    from outbox.publishers import nats_stream
except ImportError as error:
    raise options.extra_missing("NatsPublisher", "nats", error) from error

NO_RESPONDERS = "503"
#: Errors of JetStream about one message: it will never be taken.
_PERMANENT = {10054: "message_too_large", 10097: "message_too_large"}
#: Errors about the stream, though the server counts them as those of a request.
_DOWN = {10060: "other_stream", 10109: "stream_sealed"}


class NatsPublisher(ConcurrentPublisher):
    """Options: URL (or a list of them), STREAM, SUBJECT, CREDENTIALS, TIMEOUT, IN_FLIGHT."""

    def __init__(
        self,
        *,
        source: str,
        namespace: str,
        stream: str,
        url: str | list[str] = "nats://127.0.0.1:4222",
        subject: str = "hodei.{aggregate_type}.{event_type}",
        credentials: str | None = None,
        timeout: float = 5,
        in_flight: int = 256,
    ) -> None:
        super().__init__(
            in_flight=options.in_flight(in_flight), timeout=options.seconds("timeout", timeout)
        )
        self._envelope = {"source": source, "namespace": namespace}
        self._servers = _servers(url)
        self._stream = options.text("stream", stream)
        if any(letter in stream for letter in " \t\r\n.*>/\\"):
            raise options.invalid("stream", stream, "a name without spaces, dots and wildcards")
        self._subject = _subject(subject)
        self._credentials = options.file("credentials", credentials)
        if credentials is not None:
            try:
                # nats-py looks for it when it connects, and its own extra has it.
                import_module("nkeys")
            except ImportError as error:
                raise options.extra_missing("CREDENTIALS", "nats", error) from error

    async def connect(self) -> NatsConnection:
        connection = NatsConnection(
            self._stream, lambda event: (self._subject.of(event), self._body(event))
        )
        try:
            await self._open(connection)
            # Half of the time, so that there is some left to say what was waited for.
            await _stream_of(connection.client, self._stream, self._timeout / 2)
            await connection.listen()
        except BaseException as error:
            await _close(connection.client)
            if isinstance(error, errors.Error | OSError):
                raise self._unreachable(connection.cause_of(error)) from error
            raise
        return connection

    def check_stream(self) -> StreamReport:
        return self._ask(nats_stream.check)

    def create_stream(self) -> StreamReport:
        return self._ask(nats_stream.create)

    def _body(self, event: Event) -> bytes:
        return structured(event, **self._envelope).encode()

    async def _open(self, connection: NatsConnection) -> None:
        await connection.client.connect(
            servers=list(self._servers),
            name="hodei outbox",
            # A client that reconnects by itself would send its old buffer after newer events.
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=ceil(self._timeout),
            user_credentials=self._credentials,
            error_cb=connection.on_error,
            closed_cb=connection.on_closed,
        )

    def _unreachable(self, error: Exception) -> Unreachable:
        if isinstance(error, TimeoutError):
            message = f"NATS at {self._where} did not answer within {self._timeout:g} s."
            return Unreachable(down("timeout", message))
        words = str(error).removeprefix("nats: ").strip("'. ") or type(error).__name__
        return Unreachable(down("unreachable", f"NATS at {self._where}: {words}."))

    @property
    def _where(self) -> str:
        """The servers without what may be secret in their URLs."""
        return ", ".join(urlsplit(server).netloc.rpartition("@")[2] for server in self._servers)

    def _ask(self, question: Callable[[Any, str, str], Awaitable[StreamReport]]) -> StreamReport:
        async def asked() -> StreamReport:
            connection = NatsConnection(self._stream, lambda _event: ("", b""))
            try:
                async with asyncio.timeout(self._timeout):
                    await self._open(connection)
                    context = connection.client.jetstream(timeout=self._timeout)
                    return await question(context, self._stream, self._subject.pattern("*"))
            except (errors.Error, OSError, TimeoutError) as error:
                reason = self._unreachable(connection.cause_of(error))
                raise BrokerUnreachable(str(reason)) from error
            finally:
                await _close(connection.client)

        return asyncio.run(asked())


class NatsConnection:
    """One connection, and the confirmations that are awaited on it.

    nats-py's own ``publish`` of JetStream costs a timer for each message; here one subscription
    hands each answer to the future that waits for it, and time is watched for all of them at once.
    """

    def __init__(self, stream: str, message: Callable[[Event], tuple[str, bytes]]) -> None:
        self.client = Client()
        self.error: Exception | None = None
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[Outcome] = self._loop.create_future()
        self._stream = stream
        self._message = message
        self._inbox = ""
        self._numbers = itertools.count()
        self._flights: dict[str, asyncio.Future[Any]] = {}

    async def listen(self) -> None:
        self._inbox = self.client.new_inbox()
        await self.client.subscribe(f"{self._inbox}.*", cb=self._on_answer)

    async def send(self, event: Event) -> Outcome:
        subject, body = self._message(event)
        headers = {
            "Nats-Msg-Id": str(event.id),
            "Nats-Expected-Stream": self._stream,
            "content-type": CONTENT_TYPE,
        }
        # The server counts both, and ends the connection of who sends more.
        size = len(body) + _size(headers)
        if size > self.client.max_payload:
            return permanent(
                "message_too_large",
                f"The message has {size:,} bytes; NATS takes {self.client.max_payload:,}.",
            )
        number = str(next(self._numbers))
        answer = self._flights[number] = self._loop.create_future()
        try:
            await self.client.publish(
                subject, body, reply=f"{self._inbox}.{number}", headers=headers
            )
            return outcome_of(await answer, self._stream, subject)
        except (errors.Error, OSError) as error:
            return down("connection_lost", f"The connection to NATS was lost: {error}.")
        finally:
            del self._flights[number]

    async def close(self) -> None:
        await _close(self.client)

    def cause_of(self, error: Exception) -> Exception:
        """What went wrong with the last server, where nats-py only says that none is left."""
        return self.error or error if isinstance(error, errors.NoServersError) else error

    async def on_error(self, error: Exception) -> None:
        self.error = error

    async def on_closed(self) -> None:
        if not self.lost.done():
            words = f": {self.error}" if self.error else ""
            self.lost.set_result(
                down("connection_lost", f"The connection to NATS was lost{words}.")
            )

    async def _on_answer(self, message: Any) -> None:
        answer = self._flights.get(message.subject.rpartition(".")[2])
        if answer is not None and not answer.done():
            answer.set_result(message)


def outcome_of(message: Any, stream: str, subject: str) -> Outcome:
    """What an answer of JetStream says; ``message`` has ``headers`` and ``data``."""
    if message.headers and message.headers.get("Status") == NO_RESPONDERS:
        return down(
            "stream_missing",
            f"No stream takes the subject {subject}. The stream {stream!r} has to have it among "
            "its subjects; see manage.py outbox_stream check.",
        )
    try:
        answer = json.loads(message.data)
        error = answer.get("error")
        confirmed = error is None and isinstance(answer["seq"], int)
    except (ValueError, KeyError, AttributeError):
        error, confirmed = None, False
    if confirmed:
        return DELIVERED
    if not isinstance(error, dict):
        return down("no_confirmation", f"What answered for {subject} is no stream of JetStream.")
    number, words = error.get("err_code", 0), str(error.get("description", "no reason given"))
    message_ = f"JetStream refused it for the stream {stream!r}: {words} (error {number})."
    if number in _PERMANENT:
        return permanent(_PERMANENT[number], message_)
    if number in _DOWN or error.get("code", 500) >= 500:
        return down(_DOWN.get(number, "stream_unavailable"), message_)
    return rejected(f"nats_{number}", message_)


async def _stream_of(client: Any, name: str, seconds: float) -> None:
    """Make sure that the stream is there. Raises Unreachable."""
    try:
        await client.jetstream(timeout=seconds).stream_info(name)
    except NotFoundError as error:
        raise Unreachable(
            down(
                "stream_missing",
                f"NATS has no stream {name!r}. Make it: manage.py outbox_stream create.",
            )
        ) from error
    except (ServiceUnavailableError, errors.NoRespondersError) as error:
        raise Unreachable(
            down("no_jetstream", "NATS answers, and JetStream is not enabled there.")
        ) from error
    except (errors.TimeoutError, TimeoutError) as error:
        raise Unreachable(
            down(
                "timeout",
                f"NATS did not tell about the stream {name!r} within {seconds:g} s. The account "
                f"needs the right to ask $JS.API.STREAM.INFO.{name}.",
            )
        ) from error


async def _close(client: Any) -> None:
    with suppress(Exception):
        await client.close()


def _size(headers: dict[str, str]) -> int:
    lines = sum(len(name) + len(value.encode()) + 4 for name, value in headers.items())
    return len("NATS/1.0\r\n") + lines + 2


def _servers(value: Any) -> list[str]:
    allowed = "a URL like nats://host:4222, or a list of them"
    servers = [value] if isinstance(value, str) else options.texts("url", value, allowed)
    for server in servers:
        try:
            parts = urlsplit(server)
            good = parts.scheme in {"nats", "tls", "ws", "wss"} and bool(parts.hostname)
            _ = parts.port
        except ValueError:
            good = False
        if not good:
            # It may hold a password.
            raise options.OptionInvalid(f"the option URL is not {allowed}.")
    if not servers:
        raise options.invalid("url", value, allowed)
    return servers


def _subject(value: Any) -> Template:
    try:
        template = Template(options.text("subject", value))
    except ValueError as error:
        raise options.OptionInvalid(f"the option SUBJECT: {error}") from error
    if "" in template.pattern("*").split(".") or any(letter in value for letter in ":/"):
        raise options.invalid("subject", value, "words between dots, none of them empty")
    return template
