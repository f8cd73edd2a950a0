"""What others have said is made fit to be stored and shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from outbox.outcomes import (
    LONGEST_MESSAGE,
    LONGEST_RETRY_AFTER,
    Outcome,
    down,
    permanent,
    rejected,
)


@pytest.mark.parametrize("make", [rejected, permanent, down])
class TestMessage:
    def test_it_loses_its_secrets(self, make: Callable[[str, str], Outcome]) -> None:
        outcome = make("code", "could not reach amqp://me:hunter2@host, token=hunter2")

        assert outcome.message == "could not reach amqp://me:[redacted]@host, token=[redacted]"

    def test_it_is_cut(self, make: Callable[[str, str], Outcome]) -> None:
        assert len(make("code", "x" * 1_000_000).message) == LONGEST_MESSAGE

    def test_it_can_be_stored(self, make: Callable[[str, str], Outcome]) -> None:
        assert make("code", "a\0b\ud800c").message == "a b?c"


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        (None, 0.0),
        (30, 30.0),
        (0.5, 0.5),
        (-1, 0.0),
        (float("nan"), 0.0),
        (float("inf"), LONGEST_RETRY_AFTER),
        (10**400, LONGEST_RETRY_AFTER),
        ("60", 0.0),
    ],
)
def test_a_destination_is_left_alone_for_a_time_that_makes_sense(
    asked: Any, seconds: float
) -> None:
    assert rejected("busy", "later", retry_after=asked).pause == seconds
