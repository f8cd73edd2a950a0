"""How long a worker may be silent."""

from __future__ import annotations

#: Seconds without a sign of life after which a worker is gone, and while it is still being made.
SILENCE_SECONDS = 30.0


MAKING_SECONDS = 600.0
