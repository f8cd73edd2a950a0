"""Write docs/explanation/state-machines.md from the transition tables.

usage: python scripts/state_machines.py [--check]
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from jobs import states as jobs  # noqa: E402
from outbox import states as outbox  # noqa: E402
from sagas import states as sagas  # noqa: E402

PAGE = ROOT / "docs" / "explanation" / "state-machines.md"
HEAD = """\
# State machines

Made from the transition tables in `states.py` by `scripts/state_machines.py`, and a test holds this
page against them. A move that is not listed is refused.
"""
MACHINES: list[tuple[str, type[StrEnum], Mapping[Any, frozenset[Any]]]] = [
    ("Jobs", jobs.JobState, jobs.JOB_TRANSITIONS),
    ("Workers", jobs.WorkerState, jobs.WORKER_TRANSITIONS),
    ("Providers", jobs.ProviderStatus, jobs.PROVIDER_TRANSITIONS),
    ("Events", outbox.EventStatus, outbox.EVENT_TRANSITIONS),
    ("Keys held back by the relay", outbox.KeyState, outbox.KEY_TRANSITIONS),
    ("Breakers of relays", outbox.BreakerState, outbox.BREAKER_TRANSITIONS),
    ("Dead letters", outbox.DeadLetterState, outbox.DEAD_LETTER_TRANSITIONS),
    ("Sagas", sagas.SagaState, sagas.SAGA_TRANSITIONS),
    ("Steps", sagas.StepState, sagas.STEP_TRANSITIONS),
]


def page() -> str:
    """The whole page as Markdown."""
    parts = [HEAD]
    for title, states, transitions in MACHINES:
        rows = "".join(
            f"| {state} | {', '.join(s for s in states if s in transitions[state]) or 'none'} |\n"
            for state in states
        )
        parts.append(f"\n## {title}\n\n| From | To |\n|---|---|\n{rows}")
    return "".join(parts)


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(PAGE.read_text() != page())
    PAGE.write_text(page())
