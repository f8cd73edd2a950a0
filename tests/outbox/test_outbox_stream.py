"""The command outbox_stream: makes what brokers must have, and looks at it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from io import StringIO
from typing import Any, NamedTuple

import pytest
from django.core.management import CommandError, call_command
from nats.js import api
from nats.js.errors import NotFoundError

from outbox.management.commands import outbox_stream
from outbox.publishers.streams import StreamReport
from tests.outbox.publishers.rigs import require
from tests.outbox.publishers.test_rabbitmq import on_channel


class Ended(NamedTuple):
    code: int
    out: str
    err: str
    error: str


def run(*words: str) -> Ended:
    out, err = StringIO(), StringIO()
    code, error = 0, ""
    try:
        call_command("outbox_stream", *words, stdout=out, stderr=err, no_color=True)
    except CommandError as caught:
        code, error = caught.returncode, str(caught)
    return Ended(code, out.getvalue(), err.getvalue(), error)


def destination(settings: Any, name: str, publisher: str, **options: Any) -> None:
    settings.HODEI_OUTBOX = {
        "DESTINATIONS": {name: {"PUBLISHER": f"outbox.publishers.{publisher}", "OPTIONS": options}}
    }


class TestEnds:
    class Raises:
        def __init__(self, error: BaseException) -> None:
            self._error = error

        def check_stream(self) -> StreamReport:
            raise self._error

        create_stream = check_stream

    def run(self, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> Ended:
        found = [("default", self.Raises(error))]
        monkeypatch.setattr(outbox_stream, "_publishers", lambda *_arguments: found)
        return run("check")

    def test_an_interrupt_is_one_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        ended = self.run(monkeypatch, KeyboardInterrupt())

        assert (ended.code, ended.error) == (130, "Interrupted.")

    def test_what_a_client_raises_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        ended = self.run(monkeypatch, ValueError("no seed in the file"))

        assert ended.code == 3
        assert ended.err == "default: ValueError: no seed in the file\n"


class TestNats:
    @pytest.fixture
    def stream(self) -> Iterator[str]:
        require("nats")
        name = f"test_{uuid.uuid4().hex[:12]}"
        yield name
        asyncio.run(self.act("delete_stream", name))

    async def act(self, method: str, *arguments: Any) -> Any:
        import nats

        client = await nats.connect("nats://127.0.0.1:4222")
        try:
            return await getattr(client.jetstream(), method)(*arguments)
        except NotFoundError:
            return None
        finally:
            await client.close()

    def configure(self, settings: Any, stream: str, **options: Any) -> None:
        subject = f"{stream}.{{aggregate_type}}.{{event_type}}"
        values = {"STREAM": stream, "SUBJECT": subject, **options}
        destination(settings, "broker", "nats.NatsPublisher", **values)

    def test_it_is_missing_then_made_then_there(self, settings: Any, stream: str) -> None:
        self.configure(settings, stream)
        line = (
            f"broker: Stream '{stream}': subjects {stream}.*.*, 0 messages, duplicate window "
            "600 s, file storage, 1 replica(s).\n"
        )

        assert run("check") == Ended(
            1,
            f"broker: There is no stream '{stream}'.\n",
            "",
            "Events cannot be relied upon to arrive there.",
        )
        assert run("create") == Ended(0, f"broker: Made the stream '{stream}'.\n{line}", "", "")
        assert run("check") == Ended(0, line, "", "")
        assert run("create").out == (
            f"broker: Stream '{stream}' is there already, and was left as it is.\n{line}"
        )
        info = asyncio.run(self.act("stream_info", stream))
        assert info.config.storage == "file"
        assert info.config.duplicate_window == 600

    def test_one_that_is_not_good_enough_is_told_and_left(self, settings: Any, stream: str) -> None:
        self.configure(settings, stream)
        asyncio.run(
            self.act(
                "add_stream",
                api.StreamConfig(
                    name=stream,
                    subjects=[f"{stream}.ORDER.*"],
                    storage=api.StorageType.MEMORY,
                ),
            )
        )

        for action in ("check", "create"):
            ended = run(action)
            assert ended.code == 1
            assert f"It does not take the subjects {stream}.*.*." in ended.out
            assert "Its duplicate window is shorter than 600 s" in ended.out
            assert "It is kept in memory" in ended.out

    def test_subjects_of_everybody(self, settings: Any, stream: str) -> None:
        self.configure(settings, stream, SUBJECT="{aggregate_type}.{event_type}")

        ended = run("create")

        assert ended.code == 1
        assert "No stream was made: its subjects *.* would take" in ended.out
        assert asyncio.run(self.act("stream_info", stream)) is None

    def test_subjects_that_another_stream_has(self, settings: Any, stream: str) -> None:
        self.configure(settings, stream)
        run("create")
        self.configure(settings, f"{stream}_2", SUBJECT=f"{stream}.{{event_type}}.{{version}}")

        ended = run("create")

        assert ended.code == 1
        assert "No stream was made: subjects overlap with an existing stream." in ended.out

    def test_a_broker_that_does_not_answer(self, settings: Any) -> None:
        self.configure(settings, "S", URL="nats://me:hunter2@127.0.0.1:1", TIMEOUT=60)

        ended = run("check")

        assert ended.code == 3
        assert ended.err.startswith("broker: NATS at 127.0.0.1:1: ")
        assert ended.error == "A broker could not be asked."
        assert "hunter2" not in ended.err


class TestRabbitMQ:
    @pytest.fixture
    def exchange(self) -> Iterator[str]:
        require("rabbitmq")
        name = f"test_{uuid.uuid4().hex[:12]}"
        yield name
        on_channel(lambda channel: channel.queue_delete(name))
        on_channel(lambda channel: channel.exchange_delete(name))

    def test_it_is_missing_then_made_then_there(self, settings: Any, exchange: str) -> None:
        destination(settings, "broker", "rabbitmq.RabbitMQPublisher", EXCHANGE=exchange)

        ended = run("check")
        assert (ended.code, ended.out) == (1, f"broker: There is no exchange '{exchange}'.\n")
        assert run("create") == Ended(
            0,
            f"broker: Made the exchange '{exchange}': topic, durable.\n"
            f"broker: Made the queue '{exchange}': quorum, bound with '#'.\n",
            "",
            "",
        )
        assert run("check") == Ended(0, f"broker: The exchange '{exchange}' is there.\n", "", "")
        assert run("create") == Ended(
            0,
            f"broker: The exchange '{exchange}' is there already, and was left as it is.\n"
            f"broker: The queue '{exchange}' is there already, and was left as it is.\n",
            "",
            "",
        )

    def test_a_broker_that_does_not_answer(self, settings: Any) -> None:
        options = {"EXCHANGE": "e", "URL": "amqp://me:hunter2@127.0.0.1:1/", "TIMEOUT": 60}
        destination(settings, "broker", "rabbitmq.RabbitMQPublisher", **options)

        ended = run("create")

        assert ended.code == 3
        assert ended.err.startswith("broker: RabbitMQ at 127.0.0.1:1: ")
        assert "hunter2" not in ended.err


class TestRedis:
    @pytest.fixture
    def key(self) -> Iterator[str]:
        import redis

        require("redis")
        name = f"test_{uuid.uuid4().hex[:12]}"
        yield name
        with redis.Redis() as client:
            client.delete(name)

    def test_there_is_nothing_to_make(self, settings: Any, key: str) -> None:
        destination(settings, "broker", "redis.RedisPublisher", STREAM=key)

        ended = run("create")

        assert ended.code == 0
        assert ended.out.endswith(
            "broker: Nothing to make: Redis makes a stream with its first entry.\n"
        )

    def test_a_key_that_holds_something_else(self, settings: Any, key: str) -> None:
        import redis

        with redis.Redis() as client:
            client.set(key, "a text")
        destination(settings, "broker", "redis.RedisPublisher", STREAM=key)

        ended = run("check")

        assert (ended.code, ended.out) == (1, f"broker: The key '{key}' holds a string.\n")

    def test_a_broker_that_does_not_answer(self, settings: Any) -> None:
        options = {"STREAM": "s", "URL": "redis://127.0.0.1:1", "TIMEOUT": 60}
        destination(settings, "broker", "redis.RedisPublisher", **options)

        ended = run("check")

        assert ended.code == 3
        assert ended.err.startswith("broker: Redis at 127.0.0.1:1: ")


class TestDestinations:
    def test_those_without_a_broker_are_passed_over(self, settings: Any) -> None:
        settings.HODEI_OUTBOX = {}

        assert run("check") == Ended(0, "No destination has a broker: nothing to do.\n", "", "")

    def test_one_without_a_broker_by_name(self, settings: Any) -> None:
        settings.HODEI_OUTBOX = {}

        ended = run("check", "--destination", "default")

        assert ended.code == 2
        assert ended.error == (
            "Destination 'default' goes to outbox.publishers.console.ConsolePublisher, which has "
            "no stream."
        )

    def test_one_that_there_is_not(self, settings: Any) -> None:
        settings.HODEI_OUTBOX = {}

        ended = run("check", "--destination", "defualt")

        assert (ended.code, ended.error) == (
            2,
            "There is no destination 'defualt'. Did you mean default?",
        )

    def test_a_setting_that_is_wrong(self, settings: Any) -> None:
        settings.HODEI_OUTBOX = {"ROUTES": {"*": "nowhere"}}

        assert run("check").code == 2

    def test_the_worst_end_counts_and_all_are_looked_at(self, settings: Any) -> None:
        require("redis")
        redis = {"PUBLISHER": "outbox.publishers.redis.RedisPublisher"}
        settings.HODEI_OUTBOX = {
            "DESTINATIONS": {
                "a": {**redis, "OPTIONS": {"STREAM": "s", "URL": "redis://127.0.0.1:1"}},
                "b": {**redis, "OPTIONS": {"STREAM": "test_no_such_stream"}},
            }
        }

        ended = run("check")

        assert ended.code == 3
        assert ended.err.startswith("a: ")
        assert "b: Redis at 127.0.0.1:6379 answers." in ended.out

    def test_another_action_is_none(self) -> None:
        with pytest.raises(CommandError, match="invalid choice: 'delete'"):
            call_command("outbox_stream", "delete")


def test_the_help_says_what_happens() -> None:
    parser = outbox_stream.Command().create_parser("manage.py", "outbox_stream")
    text = " ".join(parser.format_help().split())

    for words in (
        "leaves what is there as it is",
        "Exit codes: 0 fine, 1 something is missing or wrong",
        "create: make what is missing. check: look, and change nothing.",
        "Without it: every destination that has a broker.",
    ):
        assert words in text
