"""What a worker holds ahead of its slots, and how much that may be."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import pytest

from jobs.held import Held
from jobs.runs import Claimed, Run
from jobs.worker import MOST_CLAIMED
from tests.processes import eventually

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def claimed(number: int) -> list[Claimed]:
    return [
        Claimed(
            *(uuid.uuid4(), place, "{}", 0, 3, None, "", None, None, NOW, None, 0, "{}", False),
            *(0, place, "default"),
        )
        for place in range(1, number + 1)
    ]


def begin(held: Held) -> Run:
    """Let the next job that waits run."""
    held.put([job._replace(started=True) for job in held.take_waiting(1)])
    job = held.next()
    assert job is not None
    run = Run(job, uuid.uuid4())
    held.begin(run)
    return run


def test_quick_runs_are_held_ahead() -> None:
    held = Held(1)
    held.put(claimed(1))
    held.done(begin(held), 0.001)

    assert held.wanted() > 2


@pytest.mark.parametrize(("slots", "seconds"), [(1, 0.0002), (10, 0.002)])
def test_a_claim_begins_all_that_it_takes_of_quick_runs(slots: int, seconds: float) -> None:
    """What it does not begin costs another statement, and another version of its row."""
    held = Held(slots)
    for _ in range(100):
        held.put(claimed(1))
        held.done(begin(held), seconds)
    # As many as there may be while it asks for more.
    held.put([job._replace(started=True) for job in claimed((slots + held.ahead()) // 2)])

    wanted = held.wanted()

    assert wanted > 0
    assert min(wanted, MOST_CLAIMED) <= held.to_start()


def test_of_long_runs_a_claim_begins_those_that_have_a_slot_soon() -> None:
    held = Held(2)
    for _ in range(100):
        held.put(claimed(1))
        held.done(begin(held), 1.0)

    assert held.to_start() == 2


def test_what_waits_behind_a_long_run_goes_back_and_is_not_taken_again() -> None:
    """It would be the same ones, which keep their places: others would never get at them."""
    held = Held(1)
    held.put(claimed(5))
    run = begin(held)
    assert held.wanted() > 0

    assert eventually(lambda: len(held.take_stale(0.6)) == 4)
    assert (len(held), held.wanted()) == (1, 0)

    held.done(run, 0.7)
    assert held.wanted() == 1


def test_a_run_that_was_lost_takes_nothing_from_the_next_one_of_its_job() -> None:
    """A thread that nobody can interrupt goes on beside it."""
    held = Held(2)
    (job,) = claimed(1)
    held.put([job])
    lost = begin(held)
    held.put([job._replace(epoch=2)])
    run = begin(held)
    assert len(held) == 2

    held.done(lost, 0.1)

    assert held.running() == [run]
    assert held.leases() == [(job.id, 2)]
