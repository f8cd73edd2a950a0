"""Enqueues as many jobs as it is told, out of a generator, and says what that took:

python -m tests.faults.many NUMBER FAIL_AT KEYED
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path


def peak() -> int:
    """The most that this process has had in memory, in MiB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1]) // 1024


def main(number: int, fail_at: int, keyed: bool) -> None:
    import django

    django.setup()
    from jobs.services.queue import Counts, enqueue_many
    from jobs.spec import NewJob

    def jobs(to: int, call: str) -> Iterator[NewJob]:
        for n in range(to):
            if n == fail_at:
                raise LookupError(f"the source broke at {n}")
            yield NewJob(
                spec={"noting": {"seconds": 0, "n": n}},
                name=f"job {n % 100}",
                idempotency_key=f"{call} {n}" if keyed else None,
            )

    # What the first chunks take, every call takes.
    enqueue_many(jobs(10_000, "first"))
    before = peak()
    counts: Counts | None = None
    error = ""
    try:
        counts = enqueue_many(jobs(number, "second"))
    except LookupError as found:
        error = str(found)
    told = {"enqueued": counts and counts.enqueued, "error": error, "grown": peak() - before}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "True")
