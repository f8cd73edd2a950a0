"""Where a runner may die: the places that tests of crashes know. In production nobody listens.

``before write``, ``after write``, and for ``action``, ``verify`` and ``compensation``:
``before action NAME`` and ``after action NAME``. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

_listener: Callable[[str], None] | None = None


def reach(point: str) -> None:
    if _listener is not None:
        _listener(point)


@contextmanager
def listening(listener: Callable[[str], None]) -> Iterator[None]:
    """Inside the block the listener is told of every point, in the thread that reaches it."""
    global _listener  # noqa: PLW0603  (one process has one runner under test)
    before, _listener = _listener, listener
    try:
        yield
    finally:
        _listener = before
