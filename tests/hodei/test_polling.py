"""How an agent sleeps: it hears what rings, notices what does not, and costs next to nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest

from hodei.polling import Bell
from hodei.sessions import connect
from tests.working import at_work

CHANNEL, GATE = "hodei_test_polling", 0x7E57
#: Longer than a test may take.
NEVER = 300.0


@pytest.fixture
def session(transactional_db: None) -> Iterator[psycopg.Connection[Any]]:
    with closing(connect("default", "sleeper")) as found:
        yield found


@pytest.fixture
def other(transactional_db: None) -> Iterator[psycopg.Connection[Any]]:
    with closing(connect("default", "ringer")) as found:
        yield found


@pytest.fixture
def bell(session: psycopg.Connection[Any]) -> Bell:
    return Bell(session, channel=CHANNEL, gate=GATE, listens=True)


Session = psycopg.Connection[Any]


def ring(session: Session) -> None:
    session.execute(f"NOTIFY {CHANNEL}")


def test_it_is_woken_while_it_sleeps(bell: Bell, other: Session) -> None:
    looked: list[bool] = []

    def until() -> bool:
        # Asked before each moment of sleep: the second time it has slept.
        looked.append(True)
        if len(looked) == 2:
            ring(other)
        return False

    assert bell.wait(NEVER, until=until)


def test_it_hears_what_came_with_an_answer(bell: Bell, session: Session, other: Session) -> None:
    """It is in no socket any more, for which one could wait."""
    ring(other)
    session.execute("SELECT 1")

    assert bell.wait(NEVER)
    assert not bell.wait(0)


def test_it_ends_when_there_is_a_reason(bell: Bell) -> None:
    answers = iter([False, False, True])

    assert not bell.wait(NEVER, until=lambda: next(answers))


def test_a_session_that_is_ended_is_no_ring(bell: Bell, session: Session, other: Session) -> None:
    def end() -> None:
        other.execute("SELECT pg_terminate_backend(%s)", [session.info.backend_pid])

    with at_work(end, lambda: None), pytest.raises(psycopg.OperationalError):
        bell.wait(NEVER)


def test_asleep_it_asks_the_driver_nothing(
    bell: Bell, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """psycopg takes a hundredth of a processor to be asked each moment."""
    asked: list[None] = []
    notifies = session.notifies

    def counted(**options: Any) -> Any:
        asked.append(None)
        return notifies(**options)

    monkeypatch.setattr(session, "notifies", counted)
    moments = iter([False] * 5 + [True])

    assert not bell.wait(NEVER, until=lambda: next(moments))
    assert len(asked) == 1
