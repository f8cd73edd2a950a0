"""Two who do something at the same moment, each on a connection of its own, again and again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from django.db import connections

from hodei.sessions import connect
from tests.processes import eventually

#: Rounds of a pair: which of two comes first is chance, so it is tried so often. In a run with what
#: is slow (``tests/conftest.py``) there are more.
ROUNDS, MANY_ROUNDS = 6, 15
#: How many there are in this run.
rounds = ROUNDS
SECONDS = 30


class Meeting:
    """Threads that keep their connections from one round to the next."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads)
        self._threads = threads

    def together(self, *calls: Callable[[], Any]) -> list[Any]:
        """What each returned, or raised; begun at the same moment, in this order."""
        barrier = threading.Barrier(len(calls))

        def at_once(call: Callable[[], Any]) -> Any:
            try:
                connections["default"].ensure_connection()
                barrier.wait(SECONDS)
                return call()
            except Exception as error:  # noqa: BLE001  (the test looks at it)
                return error

        started = [self._pool.submit(at_once, call) for call in calls]
        return [one.result(SECONDS) for one in started]

    def close(self) -> None:
        def leave(barrier: threading.Barrier) -> None:
            connections.close_all()
            barrier.wait(SECONDS)

        barrier = threading.Barrier(self._threads)
        for one in [self._pool.submit(leave, barrier) for _ in range(self._threads)]:
            one.result(SECONDS)
        self._pool.shutdown()


@contextmanager
def meeting(threads: int = 2) -> Iterator[Meeting]:
    found = Meeting(threads)
    try:
        yield found
    finally:
        found.close()


def kinds(*found: Any) -> list[str]:
    """Of what type the answers are, whichever came first."""
    return sorted(type(one).__name__ for one in found)


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """What each returned, or raised."""
    with meeting(len(calls)) as found:
        return found.together(*calls)


def in_turns(
    first: Callable[[Any], Any], second: Callable[[Any], Any], *, prepare: Callable[[], Any]
) -> Iterator[tuple[Any, Any, Any]]:
    """Yield (what was prepared, what became of the first, and of the second), for some rounds: in
    every second one the second is begun first."""
    with meeting() as both:
        for number in range(rounds):
            about = prepare()
            calls = (lambda: first(about), lambda: second(about))  # noqa: B023
            found = both.together(*(calls if number % 2 else reversed(calls)))
            one, other = found if number % 2 else reversed(found)
            yield about, one, other


@contextmanager
def made_to_wait(
    rows: str, *calls: Callable[[], Any], parameters: Any = None
) -> Iterator[list[Any]]:
    """Let calls wait for rows that are locked here (``rows`` selects and locks them), or for one
    another, each begun when the one before it waits: in the block all do, and have locked what they
    take before. What became of them is in the list afterwards."""
    found: list[Any] = []
    with (
        meeting(len(calls)) as others,
        connect("default", "holder") as holder,
        connect("default", "look") as look,
        ThreadPoolExecutor(len(calls)) as pool,
    ):
        started: list[Future[list[Any]]] = []
        with holder.transaction():
            holder.execute(rows, parameters)
            for call in calls:
                started.append(pool.submit(others.together, call))
                assert eventually(lambda: started[-1].done() or _blocked(look) >= len(started))
                assert not started[-1].done(), started[-1].result()
            yield found
        found += [one.result(SECONDS)[0] for one in started]


def unlocked(rows: str, parameters: Any = None) -> list[Any]:
    """The first column of those of these rows that nobody has locked."""
    with connect("default", "look") as look:
        found = look.execute(f"{rows} FOR UPDATE SKIP LOCKED", parameters).fetchall()
    return [row[0] for row in found]


def _blocked(look: Any) -> int:
    ((found,),) = look.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND cardinality(pg_blocking_pids(pid)) > 0"
    ).fetchall()
    return int(found)
