"""Pure: how long to wait before the next attempt.

Full jitter: anywhere between nothing and the longest pause of this attempt, so that many who failed
together do not come back together. Derivation and figures:
https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Pauses that double from ``base`` to ``cap``, both in seconds."""

    base: float
    cap: float

    def longest(self, attempt: int) -> float:
        """The longest pause after this many failed attempts, 1 or more."""
        # 2**1024 is no float any more, and long before that the cap has been reached.
        return min(self.cap, self.base * 2.0 ** min(attempt - 1, 100))

    def pause(self, attempt: int, rng: Random) -> float:
        """Seconds to wait, at least a tenth of the longest pause: nobody comes back at once."""
        longest = self.longest(attempt)
        return rng.uniform(longest / 10, longest)
