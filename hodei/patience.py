"""A connection that does not wait for ever: what has swallowed a statement may never say so.

The network tells of a peer that is gone. It does not of a pooler, a proxy or a server that takes
what is sent and answers nothing.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any, ClassVar

import psycopg


class Impatient(psycopg.Connection[Any]):
    """``psycopg.Connection``, of which each statement raises OperationalError where no end of it
    has come for ``patience`` seconds. Close it then: it is in the middle of something."""

    patience: ClassVar[float]

    def wait(self, gen: Generator[Any, Any, Any], *args: Any, **options: Any) -> Any:
        return super().wait(_within(gen, self.patience), *args, **options)


def of(seconds: float) -> type[Impatient]:
    return type("Impatient", (Impatient,), {"patience": seconds})


def _within(steps: Generator[Any, Any, Any], seconds: float) -> Generator[Any, Any, Any]:
    """The same steps. Whoever drives them sends what the socket is ready for, and nothing now and
    then while it is not."""
    deadline = time.monotonic() + seconds
    try:
        wanted = next(steps)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() > deadline:
                raise psycopg.OperationalError(f"no answer for {seconds:g} seconds")
            wanted = steps.send(ready)
    except StopIteration as end:
        return end.value
