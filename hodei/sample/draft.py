"""What the rows of the sample are drawn from: one point in time, and one source of ids."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Draft:
    """Times relative to ``now``, and ids that the same seed gives again."""

    now: datetime
    rng: random.Random

    def id(self) -> uuid.UUID:
        """A new id."""
        return uuid.UUID(int=self.rng.getrandbits(128), version=4)

    def trace(self) -> str:
        """A new W3C traceparent."""
        return f"00-{self.rng.getrandbits(128):032x}-{self.rng.getrandbits(64):016x}-01"

    def ago(self, *, hours: float = 0, minutes: float = 0, seconds: float = 0) -> datetime:
        """A time before now."""
        return self.now - timedelta(hours=hours, minutes=minutes, seconds=seconds)

    def soon(self, *, hours: float = 0, minutes: float = 0, seconds: float = 0) -> datetime:
        """A time after now."""
        return self.now + timedelta(hours=hours, minutes=minutes, seconds=seconds)
