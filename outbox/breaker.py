"""Pure: whether a destination is tried at all. It is given the time, and never reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from hodei.backoff import Backoff
from outbox.states import BreakerState

#: Pauses between attempts to reach a destination that is down.
PAUSES = Backoff(base=0.5, cap=30.0)


@dataclass(slots=True)
class Breaker:
    """CLOSED while the transport works. OPEN after it did not: nothing is sent until ``until``,
    then one event, and everything again once that came through."""

    rng: Random = field(default_factory=Random)
    state: BreakerState = BreakerState.CLOSED
    #: What the destination said last; None while it is CLOSED.
    error: str | None = None
    #: Failures in a row.
    failures: int = 0
    until: float = 0.0

    def left(self, now: float) -> float:
        """Seconds until something may be sent; 0.0 is now."""
        return 0.0 if self.state is BreakerState.CLOSED else max(self.until - now, 0.0)

    @property
    def is_probing(self) -> bool:
        """Whether only one event may be sent, to see."""
        return self.state is BreakerState.OPEN

    def down(self, now: float, error: str, retry_after: float = 0.0) -> None:
        self.failures += 1
        self.state = BreakerState.OPEN
        self.error = error
        pause = PAUSES.pause(self.failures, self.rng)
        self.until = now + max(pause, retry_after)

    def up(self) -> None:
        self.failures = 0
        self.state = BreakerState.CLOSED
        self.error = None
