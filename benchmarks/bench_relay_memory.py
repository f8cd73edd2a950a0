"""How much memory a relay needs for large payloads: 256 KiB each, the most that is allowed.

Claim: it does not grow with the number of events. A batch has at most 8 MiB of payload.

usage: python benchmarks/bench_relay_memory.py [ROUNDS [EVENTS]]

Each case is a relay in a process of its own, which takes everything and tells what memory it held
at most (VmHWM); the payloads are of one letter, so that the table is small.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from database import calm, execute, migrated, postgresql  # noqa: E402
from measuring import in_turn, report  # noqa: E402

FEW = 100
BYTES = 256 * 1024 - 20
FILL = """
    INSERT INTO outbox_events (aggregate_id, aggregate_type, event_type, payload)
    SELECT md5((n % 50)::text)::uuid, 'JOB', 'JobCreated',
           jsonb_build_object('blob', repeat('x', {bytes}))
      FROM generate_series(1, {events}) AS s (n)"""
RELAY = """
import os, threading
from database import set_up
set_up(os.environ["DATABASE_URL"])
from outbox.conf import Destination
from outbox.relay import Relay
from workload import Taker

one = Relay(
    "default",
    Destination(name="default", publisher="unused"),
    Taker(remembers=False),
    stop=threading.Event(),
    once=True,
)
one.run()
(peak,) = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(one.counts.delivered, peak)
"""


def main(rounds: int, events: int) -> None:
    if not Path("/proc/self/status").exists():
        print("NOT RUN: this system does not tell the memory of a process in /proc.")
        return
    with migrated("bench_relay_memory"):

        def case(number: int) -> Callable[[], float]:
            return lambda: peak(number)

        figures = in_turn(
            {
                "no event": case(0),
                f"{FEW} events of 256 KiB": case(FEW),
                f"{events:,} events of 256 KiB": case(events),
            },
            rounds,
        )
        settings = {"payload bytes": BYTES, "events": events, "postgresql": postgresql()}
    report(
        "relay_memory",
        figures,
        unit="MiB",
        against=f"{FEW} events of 256 KiB",
        settings=settings,
    )


def peak(events: int) -> float:
    execute("TRUNCATE outbox_events, outbox_lanes, outbox_keys, outbox_relays")
    if events:
        execute(FILL.format(bytes=BYTES, events=events))
    calm()
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path[:2]!r}\n{RELAY}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"The relay failed: {done.stderr[-2000:]}")
    delivered, kilobytes = map(int, done.stdout.split())
    if delivered != events:
        raise SystemExit(f"{delivered} events were delivered of {events}.")
    return kilobytes / 1024


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:3]]
    main(*(numbers + [3, 5_000][len(numbers) :]))
