"""What a task raises to say more than that it failed.

    raise Retry(in_=30, reason="the bank is closed")

Any other exception is a failure, too: it is tried again by the task's own rule.
"""

from __future__ import annotations

from datetime import timedelta

from hodei.values import shown


class Retry(Exception):  # noqa: N818  (it reads as what it asks for)
    """It failed; run it again after this time, if an attempt is left.

    ``in_`` is in seconds, or a timedelta; None is by the task's backoff.
    """

    #: Of a subclass, too, that does not call ``__init__``.
    seconds: float | None = None

    def __init__(self, reason: str = "", *, in_: float | timedelta | None = None) -> None:
        super().__init__(reason)
        self.seconds = None if in_ is None else as_seconds(in_)


class DoNotRetry(Exception):  # noqa: N818
    """It failed, and another run would fail, too: the job is FAILED, whatever attempts are left."""


class Snooze(Exception):  # noqa: N818
    """It cannot be done yet: run it again after this time. Spends no attempt."""

    #: Of a subclass, too, that does not call ``__init__``.
    seconds: float = 1.0

    def __init__(self, *, in_: float | timedelta) -> None:
        super().__init__()
        self.seconds = as_seconds(in_)


class LeaseLost(Exception):  # noqa: N818
    """The job is not this run's any more: another worker may run it, or it was cancelled.

    Raised inside the transaction that was to complete it, which is rolled back by it.
    """


class JobCancelled(Exception):  # noqa: N818
    """In a task's result: the job was cancelled. Never raised."""


class RunLost(Exception):  # noqa: N818
    """In a task's result: the worker of this run vanished. Never raised."""


class RunFailed(Exception):  # noqa: N818
    """In a task's result: the run failed without an exception. Never raised."""


def as_seconds(value: float | timedelta) -> float:
    """Seconds of a number or a timedelta. Raises ValueError for what is no time to wait."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if not 0 <= seconds <= 10 * 366 * 86_400:
        raise ValueError(f"{shown(value)} is no time to wait; it is 0 to ten years.")
    return seconds
