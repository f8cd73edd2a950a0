"""Types of options that several commands about jobs have."""

from __future__ import annotations

from datetime import timedelta

from hodei.schema.management.arguments import number, seconds
from jobs.spec import HIGHEST_PRIORITY, LONGEST_TIMEOUT, LOWEST_PRIORITY

#: More than nothing, in seconds; and a time to wait after which nobody remembers why.
SHORTEST_TIMEOUT, LONGEST_DELAY = 0.001, timedelta(days=36_500)

PRIORITIES = f"{LOWEST_PRIORITY} to {HIGHEST_PRIORITY}"
priority = number("priority", LOWEST_PRIORITY, HIGHEST_PRIORITY)
timeout = seconds(SHORTEST_TIMEOUT, LONGEST_TIMEOUT.total_seconds())
delay = seconds(most=LONGEST_DELAY.total_seconds())
