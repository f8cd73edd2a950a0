"""The system checks by name: what each says, and that none of them connects to anything."""

from __future__ import annotations

import builtins
import re
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage, Error, run_checks

from outbox import checks

PAGE = Path(checks.__file__).parents[1] / "docs" / "reference" / "checks.md"


def found(settings: Any, value: Any) -> list[CheckMessage]:
    settings.HODEI_OUTBOX = value
    return checks.check_outbox()


def destination(**values: Any) -> dict[str, Any]:
    return {"DESTINATIONS": {"billing": values}}


class TestE001:
    @pytest.mark.parametrize(
        ("value", "words"),
        [
            ([], "HODEI_OUTBOX is []; it is a dict."),
            ({"DESTINATION": {}}, "HODEI_OUTBOX has a key 'DESTINATION'; it knows DESTINATIONS,"),
            ({"MAX_PAYLOAD_BYTES": 0}, "is 0; it is 1 to 16777216."),
            ({"ROUTES": {7: "default"}}, "A pattern in HODEI_OUTBOX['ROUTES'] is 7;"),
            (destination(), "has no PUBLISHER: name the dotted path of a class."),
            (destination(PUBLISHER="x.Y", ON_DEATH="stop"), "is 'stop'; it is 'park' or 'skip'."),
        ],
    )
    def test_a_value_that_cannot_be(self, settings: Any, value: Any, words: str) -> None:
        (message,) = found(settings, value)

        assert message.id == "outbox.E001"
        assert words in message.msg
        assert message.hint == (
            "Correct HODEI_OUTBOX; docs/reference/outbox_publishers.md has all its keys."
        )


class TestE002:
    def test_a_publisher_that_there_is_not(self, settings: Any) -> None:
        (message,) = found(settings, destination(PUBLISHER="outbox.publishers.kafka.Kafka"))

        assert message.id == "outbox.E002"
        assert message.msg.startswith(
            "Destination 'billing': 'outbox.publishers.kafka.Kafka' cannot be imported ("
        )


class TestE003:
    def test_an_option_that_cannot_be(self, settings: Any) -> None:
        value = destination(
            PUBLISHER="outbox.publishers.redis.RedisPublisher",
            OPTIONS={"STREAM": "events", "MAXLEN": -1},
        )

        assert found(settings, value) == [
            Error(
                "Destination 'billing': the option MAXLEN is -1; it is a whole number from 1 to "
                "9,007,199,254,740,992.",
                hint="Correct its OPTIONS; docs/reference/outbox_publishers.md has all of them.",
                id="outbox.E003",
            )
        ]


class TestE004:
    @pytest.mark.parametrize(
        ("name", "library", "extra"),
        [
            ("nats.NatsPublisher", "nats", "nats"),
            ("rabbitmq.RabbitMQPublisher", "aio_pika", "rabbitmq"),
            ("redis.RedisPublisher", "redis", "redis"),
            ("webhook.WebhookPublisher", "httpx", "webhook"),
        ],
    )
    def test_an_extra_that_is_not_installed(
        self,
        settings: Any,
        monkeypatch: pytest.MonkeyPatch,
        name: str,
        library: str,
        extra: str,
    ) -> None:
        genuine = builtins.__import__

        def without(asked: str, *rest: Any, **more: Any) -> Any:
            if asked.partition(".")[0] == library:
                raise ModuleNotFoundError(f"No module named {library!r}")
            return genuine(asked, *rest, **more)

        monkeypatch.delitem(sys.modules, f"outbox.publishers.{name.partition('.')[0]}", False)
        monkeypatch.setattr(builtins, "__import__", without)

        (message,) = found(settings, destination(PUBLISHER=f"outbox.publishers.{name}"))

        assert message.id == "outbox.E004"
        kind = name.partition(".")[2]
        assert message.msg == (
            f"Destination 'billing': {kind} needs a library that is not installed "
            f"(No module named {library!r}): pip install 'hodei[{extra}]'."
        )
        assert message.hint == f"Install it: pip install 'hodei[{extra}]'."


class TestE005:
    @pytest.mark.parametrize("name", ["biling", None, ["default"]])
    def test_a_route_to_a_destination_that_there_is_not(self, settings: Any, name: Any) -> None:
        assert found(settings, {"ROUTES": {"Invoice*": name}}) == [
            Error(
                f"HODEI_OUTBOX['ROUTES']['Invoice*'] is {name!r}; it is one of 'default'.",
                hint="Name a key of HODEI_OUTBOX['DESTINATIONS'].",
                id="outbox.E005",
            )
        ]


def test_every_destination_is_looked_at(settings: Any) -> None:
    messages = found(
        settings, {"DESTINATIONS": {name: {"PUBLISHER": f"no.{name}"} for name in ("a", "b")}}
    )

    assert [message.msg.partition(":")[0] for message in messages] == [
        "Destination 'a'",
        "Destination 'b'",
    ]


def test_they_run_with_all_the_others_and_find_nothing_here(settings: Any) -> None:
    assert run_checks(tags=[checks.TAG]) == []

    del settings.HODEI_OUTBOX  # where it is set at all
    assert run_checks(tags=[checks.TAG]) == []


def test_they_connect_to_nothing(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a check connects")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    value = destination(PUBLISHER="outbox.publishers.nats.NatsPublisher", OPTIONS={"STREAM": "S"})

    assert found(settings, value) == []


def test_each_is_documented() -> None:
    named = set(re.findall(r'id="(outbox\.[EW]\d+)"', Path(checks.__file__).read_text()))

    assert len(named) == 5
    assert named == set(re.findall(r"outbox\.[EW]\d{3}", PAGE.read_text()))
