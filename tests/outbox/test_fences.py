"""A relay whose lanes somebody else has leased meanwhile writes nothing any more, whatever it has
to tell: the events are still there to be written about, since the other one has only begun."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from hodei.sessions import connect
from hodei.sql import statement
from outbox import settlement
from outbox.events import Event
from outbox.lanes import Leases
from outbox.outcomes import DELIVERED, Outcome, down, permanent, rejected
from tests.outbox.conftest import Outbox
from tests.outbox.recorder import Recorder

JOB = uuid.UUID(int=1)
UNTOUCHED = ("PENDING", False, 0, 0, 0, None, None)


@pytest.fixture
def session(outbox: Outbox) -> Iterator[psycopg.Connection[Any]]:
    with connect("default", "another relay") as found:
        yield found


def take_over(session: psycopg.Connection[Any]) -> Leases:
    """Another relay leases every lane, as it does when the leases have run out."""
    another = Leases("default", "another", seconds=600.0)
    with session.transaction():
        session.execute("UPDATE outbox_lanes SET leased_until = clock_timestamp() - interval '1 s'")
        assert len(another.claim(session, 64)) == 64
    return another


def events(outbox: Outbox) -> list[tuple[Any, ...]]:
    return outbox.rows(
        "SELECT status, held, retry_count, attempts_started, attempts_finished, last_error, "
        "published_at FROM outbox_events ORDER BY seq"
    )


def owners(outbox: Outbox) -> list[tuple[Any, ...]]:
    return outbox.rows(
        "SELECT DISTINCT owner, leased_until > clock_timestamp() + interval '5 minutes' "
        "FROM outbox_lanes"
    )


@pytest.mark.parametrize(
    "outcome",
    [DELIVERED, rejected("busy", "later"), permanent("gone", "no"), down("away", "nobody")],
    ids=lambda outcome: outcome.kind.value,
)
def test_a_zombie_writes_nothing_of_what_it_has_sent(
    outbox: Outbox, session: psycopg.Connection[Any], outcome: Outcome
) -> None:
    outbox.publish(JOB, 1, 2)

    def judge(_event: Event) -> Outcome:
        take_over(session)
        return outcome

    outbox.drain(judge)

    assert events(outbox) == [UNTOUCHED] * 2
    assert owners(outbox) == [("another", True)]
    for table in ("outbox_keys", "outbox_dlq", "outbox_dlq_actions"):
        assert outbox.value(f"SELECT count(*) FROM {table}") == 0, table


def test_it_writes_of_the_lanes_that_it_still_has(
    outbox: Outbox, session: psycopg.Connection[Any]
) -> None:
    """Of four events two are in lanes that another has taken: of each pair one is refused."""
    for number in (1, 2, 3, 4):
        outbox.publish(uuid.UUID(int=number), number)

    def judge(event: Event) -> Outcome:
        if event.payload["n"] == 1:
            session.execute(
                "UPDATE outbox_lanes SET owner = 'another', fence = fence + 1, "
                "leased_until = clock_timestamp() + interval '1 h' WHERE lane IN (1, 2)"
            )
        return DELIVERED if event.payload["n"] % 2 else rejected("busy", "later")

    outbox.drain(judge)

    assert outbox.statuses() == {1: "PENDING", 2: "PENDING", 3: "PUBLISHED", 4: "PENDING"}
    assert outbox.rows("SELECT retry_count FROM outbox_events ORDER BY seq") == [
        *((0,), (0,), (0,), (1,))
    ]
    assert outbox.rows("SELECT aggregate_id FROM outbox_keys") == [(uuid.UUID(int=4),)]


def test_a_fence_grows_with_every_lease(outbox: Outbox, session: psycopg.Connection[Any]) -> None:
    leases = Leases("default", "me")
    leases.prepare(session)
    leases.claim(session, 64)
    first = leases.arguments()["fences"]

    second = take_over(session).arguments()["fences"]

    assert all(new > old for old, new in zip(first, second, strict=True))


def test_leases_that_are_lost_can_neither_be_kept_nor_given_back(
    outbox: Outbox, session: psycopg.Connection[Any]
) -> None:
    leases = Leases("default", "me")
    leases.prepare(session)
    leases.claim(session, 64)
    take_over(session)

    before = leases.arguments()
    assert leases.renew(session) == before["lanes"]
    session.execute(statement("outbox", "release_lanes"), before)

    assert owners(outbox) == [("another", True)]


def test_a_lease_that_was_given_back_is_not_prolonged(
    outbox: Outbox, session: psycopg.Connection[Any]
) -> None:
    """The thread that renews them had looked which there are just before."""
    leases = Leases("default", "me")
    leases.prepare(session)
    leases.claim(session, 64)

    class Between:
        def execute(self, sql: str, parameters: Any) -> Any:
            leases.release(session, [1, 2])
            return session.execute(sql, parameters)

    assert leases.renew(Between()) == []  # type: ignore[arg-type]

    assert len(leases) == 62
    assert sorted(Leases("default", "another").claim(session, 64)) == [1, 2]


def test_a_lease_that_was_taken_anew_is_not_forgotten(
    outbox: Outbox, session: psycopg.Connection[Any]
) -> None:
    leases = Leases("default", "me")
    leases.prepare(session)
    leases.claim(session, 64)

    class Between:
        def execute(self, sql: str, parameters: Any) -> Any:
            leases.release(session, [1])
            assert leases.claim(session, 64) == [1]
            return session.execute(sql, parameters)

    assert leases.renew(Between()) == []  # type: ignore[arg-type]

    assert len(leases) == 64


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_zombie_lets_nobody_go_who_waits(
    outbox: Outbox,
    session: psycopg.Connection[Any],
    when: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It loses the lane before, or after, it has written down that the first has arrived."""
    outbox.publish(JOB, 1, 2)
    outbox.drain(lambda _event: rejected("busy", "later"))
    outbox.execute("UPDATE outbox_keys SET retry_at = now()")
    written = settlement.acknowledge

    def acknowledge(*arguments: Any) -> set[int]:
        if when == "before":
            take_over(session)
        lost = written(*arguments)
        if when == "after":
            take_over(session)
        return lost

    monkeypatch.setattr(settlement, "acknowledge", acknowledge)
    outbox.drain()

    assert outbox.value("SELECT count(*) FROM outbox_keys") == 1
    assert outbox.rows("SELECT held FROM outbox_events ORDER BY seq") == [(False,), (True,)]


def test_leases_that_are_lost_mark_no_event(
    outbox: Outbox, session: psycopg.Connection[Any]
) -> None:
    """A mark would make others believe that a process has died of the event."""
    (event,) = outbox.publish(JOB, 1)
    leases = Leases("default", "me")
    leases.prepare(session)
    leases.claim(session, 64)
    held = leases.arguments()
    session.execute(statement("outbox", "mark_started"), {**held, "ids": [event]})
    assert outbox.value("SELECT attempts_started FROM outbox_events") == 1
    take_over(session)

    session.execute(statement("outbox", "mark_started"), {**held, "ids": [event]})

    assert outbox.value("SELECT attempts_started FROM outbox_events") == 1


def test_with_leases_that_may_have_run_out_nothing_is_sent(
    outbox: Outbox, session: psycopg.Connection[Any]
) -> None:
    outbox.publish(JOB, 1)
    recorder = Recorder()
    relay = outbox.relay(recorder)
    relay.leases.prepare(session)
    relay.leases.claim(session, 64)
    relay.leases._valid_until = 0.0

    assert relay._round(session) == 0
    assert recorder.batches == []

    relay.leases.renew(session)
    assert relay._round(session) == 1
