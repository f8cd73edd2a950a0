"""To streams of Redis, through redis-py: XADD, pipelined.

An entry has the fields ``id`` (the event's id), ``type`` and ``event``, which is the whole event as
CloudEvents JSON. Redis drops no duplicates and confirms before the entry is on disk, unless its
``appendfsync`` is ``always``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from outbox.envelope import structured
from outbox.events import Event
from outbox.outcomes import DELIVERED, HELD, Kind, Outcome, down, rejected
from outbox.publishers import chains, options
from outbox.publishers.names import Template
from outbox.publishers.streams import BrokerUnreachable, StreamReport

try:
    import redis
    from redis import exceptions
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ImportError as error:
    raise options.extra_missing("RedisPublisher", "redis", error) from error

#: Errors that begin so are about the server, the stream or who asks, and not about the event.
_DOWN = {
    "WRONGTYPE": "wrong_type",
    "OOM": "out_of_memory",
    "READONLY": "read_only",
    "MISCONF": "cannot_persist",
    "LOADING": "loading",
    "MASTERDOWN": "unreachable",
    "NOREPLICAS": "no_replicas",
    "BUSY": "busy",
    "NOAUTH": "no_permission",
    "WRONGPASS": "no_permission",
    "NOPERM": "no_permission",
    "CLUSTERDOWN": "unreachable",
    "MOVED": "is_a_cluster",
    "ASK": "is_a_cluster",
}


class RedisPublisher:
    """Options: URL, STREAM, MAXLEN, TIMEOUT, IN_FLIGHT."""

    def __init__(
        self,
        *,
        source: str,
        namespace: str,
        stream: str,
        url: str = "redis://127.0.0.1:6379/0",
        maxlen: int | None = None,
        timeout: float = 5,
        in_flight: int = 256,
    ) -> None:
        self._envelope = {"source": source, "namespace": namespace}
        self._in_flight = options.in_flight(in_flight)
        self._timeout = options.seconds("timeout", timeout)
        self._maxlen = None if maxlen is None else options.whole("maxlen", maxlen, 1, 2**53)
        self._url = _url(url)
        try:
            self._stream = Template(options.text("stream", stream))
        except ValueError as error:
            raise options.OptionInvalid(f"the option STREAM: {error}") from error
        self._client: redis.Redis | None = None

    def open(self) -> None:
        if self._client is None:
            self._client = redis.Redis.from_url(
                self._url,
                socket_timeout=self._timeout,
                socket_connect_timeout=self._timeout,
                # It would send again what may have arrived; the relay decides what is sent again.
                retry=Retry(NoBackoff(), 0),
                decode_responses=True,
            )

    def send_batch(self, events: Sequence[Event]) -> Sequence[Outcome]:
        """The first event of each key in one round trip, then the second of each, and so on."""
        self.open()
        outcomes = [HELD] * len(events)
        going = list(chains(events))
        depth = 0
        while going:
            wave = [chain[depth] for chain in going]
            for start in range(0, len(wave), self._in_flight):
                part = wave[start : start + self._in_flight]
                told = self._send([events[place] for place in part])
                for place, outcome in zip(part, told, strict=True):
                    outcomes[place] = outcome
                if any(outcome.kind is Kind.DOWN for outcome in told):
                    self._disconnect()
                    return outcomes
            depth += 1
            going = [
                chain
                for chain in going
                if len(chain) > depth and outcomes[chain[depth - 1]].kind is Kind.DELIVERED
            ]
        return outcomes

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def check_stream(self) -> StreamReport:
        found = self._ask_type()
        if found not in {"none", "stream"}:
            return StreamReport([], [f"The key {self._stream.text!r} holds a {found}."])
        lines = [f"Redis at {self._where} answers."]
        if not self._is_fixed:
            lines.append(f"STREAM is {self._stream.text!r}: the keys are known with the events.")
        elif found == "none":
            lines.append(
                f"The key {self._stream.text!r} is free: the first event makes the stream."
            )
        else:
            lines.append(f"The key {self._stream.text!r} holds a stream.")
        return StreamReport(lines)

    def create_stream(self) -> StreamReport:
        report = self.check_stream()
        lines = [*report.lines, "Nothing to make: Redis makes a stream with its first entry."]
        return report if report.problems else StreamReport(lines)

    def _send(self, events: Sequence[Event]) -> list[Outcome]:
        assert self._client is not None  # noqa: S101  (open() made it)
        pipeline = self._client.pipeline(transaction=False)
        for event in events:
            pipeline.xadd(
                self._stream.of(event),
                {
                    "id": str(event.id),
                    "type": event.event_type,
                    "event": structured(event, **self._envelope),
                },
                maxlen=self._maxlen,
                approximate=self._maxlen is not None,
            )
        try:
            answers = pipeline.execute(raise_on_error=False)
        except (exceptions.RedisError, OSError) as error:
            # Some may have arrived, and nobody will ever say which.
            return [_unreachable(error, self._where, self._timeout)] * len(events)
        return [outcome_of(answer) for answer in answers]

    def _disconnect(self) -> None:
        """Make the next batch begin with a new connection, on which no old answer can come."""
        if self._client is not None:
            self._client.connection_pool.disconnect()

    def _ask_type(self) -> str:
        self.open()
        assert self._client is not None  # noqa: S101
        try:
            return str(self._client.type(self._stream.text)) if self._is_fixed else self._ping()
        except (exceptions.RedisError, OSError) as error:
            message = _unreachable(error, self._where, self._timeout).message
            raise BrokerUnreachable(message) from error
        finally:
            self.close()

    def _ping(self) -> str:
        assert self._client is not None  # noqa: S101
        self._client.ping()
        return "none"

    @property
    def _is_fixed(self) -> bool:
        return self._stream.pattern("*") == self._stream.text

    @property
    def _where(self) -> str:
        parts = urlsplit(self._url)
        return parts.netloc.rpartition("@")[2] or parts.path


def outcome_of(answer: Any) -> Outcome:
    """What an answer to XADD says: the entry's id, or an error."""
    if isinstance(answer, str | bytes):
        return DELIVERED
    words = str(answer)
    code = _DOWN.get(words.split(" ", 1)[0]) or _by_class(answer)
    message = f"Redis refused it: {words.rstrip('.')}."
    return down(code, message) if code else rejected("redis_error", message)


def _by_class(error: Any) -> str | None:
    """redis-py takes the first word from some errors, and makes classes of them."""
    classes = {
        exceptions.OutOfMemoryError: "out_of_memory",
        exceptions.ReadOnlyError: "read_only",
        exceptions.BusyLoadingError: "loading",
        exceptions.NoPermissionError: "no_permission",
        exceptions.AuthenticationError: "no_permission",
        exceptions.ConnectionError: "connection_lost",
    }
    return next((code for kind, code in classes.items() if isinstance(error, kind)), None)


def _unreachable(error: Exception, where: str, timeout: float) -> Outcome:
    if isinstance(error, exceptions.TimeoutError | TimeoutError):
        return down("timeout", f"Redis at {where} did not answer within {timeout:g} s.")
    code = _DOWN.get(str(error).split(" ", 1)[0]) or _by_class(error) or "connection_lost"
    return down(code, f"Redis at {where}: {str(error).rstrip('.')}.")


def _url(value: Any) -> str:
    # It may hold a password, so it is not repeated.
    try:
        parts = urlsplit(options.text("url", value))
        good = parts.scheme == "unix" or (
            parts.scheme in {"redis", "rediss"} and bool(parts.hostname)
        )
        # Makes one, and does not connect: only then each parameter is looked at.
        redis.ConnectionPool.from_url(value).make_connection()
    except ValueError:
        good = False
    except (TypeError, exceptions.RedisError) as error:
        raise options.OptionInvalid(
            f"the option URL has a parameter that redis-py does not take: {str(error).rstrip('.')}."
        ) from error
    if not good:
        raise options.OptionInvalid("the option URL is not like redis://user:password@host:6379/0.")
    return str(value)
