"""Publishers that go nowhere: to stdout, and to a function."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from typing import Any

import pytest

from outbox.outcomes import DELIVERED, Kind
from outbox.publishers.callable import CallablePublisher, Unavailable, Undeliverable
from outbox.publishers.console import ConsolePublisher
from tests.outbox.publishers.events import SOURCE, make_event, make_events


class TestConsole:
    def test_an_event_is_one_line_however_it_is_written(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        event = make_event(data='{\n  "text":\r\n "a\\nb"\n}')

        ConsolePublisher(**SOURCE).send_batch([event, make_event()])

        first, _ = capsys.readouterr().out.splitlines()
        assert json.loads(first)["data"] == {"text": "a\nb"}

    def test_a_terminal_that_knows_few_letters(self, monkeypatch: pytest.MonkeyPatch) -> None:
        written = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))

        outcomes = ConsolePublisher(**SOURCE).send_batch([make_event(payload="ü🚚")])

        assert outcomes == [DELIVERED]
        assert b'"data":"\\u00fc\\ud83d\\ude9a"' in written.getvalue()
        assert json.loads(written.getvalue())["data"] == "ü🚚"


class MuteError(Exception):
    def __str__(self) -> str:
        raise MuteError


class TestCallable:
    def publisher(self, function: Any) -> CallablePublisher:
        return CallablePublisher(**SOURCE, function=function)

    @pytest.mark.parametrize(
        ("error", "kind", "code", "message"),
        [
            (Undeliverable("no such article"), Kind.PERMANENT, "undeliverable", "no such article"),
            (Unavailable("closed"), Kind.DOWN, "unavailable", "closed"),
            (KeyError("x"), Kind.REJECTED, "KeyError", "'x'"),
            (TimeoutError(), Kind.REJECTED, "TimeoutError", ""),
            (SystemExit(3), Kind.REJECTED, "SystemExit", "3"),
            (GeneratorExit(), Kind.REJECTED, "GeneratorExit", ""),
            (asyncio.CancelledError(), Kind.REJECTED, "CancelledError", ""),
            (MuteError(), Kind.REJECTED, "MuteError", "MuteError (it cannot be shown)"),
        ],
    )
    def test_what_an_exception_means(
        self, error: BaseException, kind: Kind, code: str, message: str
    ) -> None:
        def function(_event: object) -> None:
            raise error

        (outcome,) = self.publisher(function).send_batch([make_event()])

        assert outcome[:3] == (kind, code, message)

    def test_when_to_come_again(self) -> None:
        def function(_event: object) -> None:
            raise Unavailable("closed", retry_after=60)

        outcomes = self.publisher(function).send_batch(make_events(keys=3, each=1))

        assert outcomes[0].retry_after == 60
        assert [outcome.kind for outcome in outcomes[1:]] == [Kind.HELD] * 2

    def test_an_interrupt_is_nobodys_answer(self) -> None:
        def function(_event: object) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            self.publisher(function).send_batch([make_event()])

    def test_a_class_is_a_function_too(self) -> None:
        made: list[Any] = []

        class Handler:
            def __init__(self, event: object) -> None:
                made.append(event)

        event = make_event()
        assert self.publisher(Handler).send_batch([event]) == [DELIVERED]
        assert made == [event]

    def test_messages_of_errors_lose_their_secrets(self) -> None:
        def function(_event: object) -> None:
            raise OSError("could not open https://me:hunter2@example.test/")

        (outcome,) = self.publisher(function).send_batch([make_event()])

        assert "hunter2" not in outcome.message
