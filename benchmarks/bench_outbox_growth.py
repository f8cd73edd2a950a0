"""Whether the outbox slows down as its history grows: publish and relay, on an empty table and a
full one.

Claim: with 10,000,000 published events in the table, and 100,000 that wait behind a dead one,
publish and relay cost at most 1.2 times what they cost with none.

usage: python benchmarks/bench_outbox_growth.py [ROUNDS [HISTORY]]

Two databases on one server take turns. The full one is made once and kept in ``.hodei/bench``: with
10,000,000 events that takes minutes and gigabytes, once; 1,000,000 are quick. Published events
have random aggregates, so that every index is as large as it would be. The relay is measured with
a thousand aggregates, and with one for each event, which then has a place of its own in the index
of aggregates. A checkpoint comes before its events are stored, so that none comes in the middle of
some runs alone.
"""

from __future__ import annotations

import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from database import add, execute, migrated, postgresql, progress  # noqa: E402
from measuring import Target, in_turn, report  # noqa: E402
from workload import PAYLOAD, PAYLOAD_TEXT, Taker  # noqa: E402

#: Of one round.
PUBLISHED, RELAYED = 1_000, 30_000
HELD = 100_000
PARKED = uuid.UUID("11111111-2222-4333-8444-5555555555ff")
#: Rows of one statement of the filling.
PART = 500_000
# Ids begin with the time, as those of ``publish`` do, a millisecond apart.
HISTORY = """
    INSERT INTO outbox_events (id, aggregate_id, aggregate_type, event_type, payload, created_at,
                               published_at, status, attempts_started, attempts_finished)
    SELECT (lpad(to_hex(extract(epoch FROM at)::bigint * 1000 + n %% 1000), 12, '0') || '7'
            || substr(md5(n::text), 1, 3) || '8' || substr(md5(n::text), 5, 15))::uuid,
           gen_random_uuid(), 'JOB', 'JobCreated', %(payload)s::jsonb, at, at, 'PUBLISHED', 1, 1
      FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS s (n)
     CROSS JOIN LATERAL (
           SELECT now() - (%(all)s - n) * interval '1 ms' - interval '1 hour' AS at) AS t"""
WAITING = """
    INSERT INTO outbox_events (aggregate_id, aggregate_type, event_type, payload, held)
    SELECT %(aggregate)s, 'JOB', 'JobCreated', %(payload)s::jsonb, true
      FROM generate_series(1, %(number)s)"""
PARK = """
    INSERT INTO outbox_keys (destination, lane, aggregate_type, aggregate_id, state, event_id)
    VALUES ('default', %s, 'JOB', %s, 'PARKED', gen_random_uuid())"""


def main(rounds: int, history: int) -> None:
    with migrated("bench_growth_empty") as url:
        full = f"bench_growth_{history}"
        made = add("full", url.replace("bench_growth_empty", full), complete=complete)
        if made:
            fill(history)
        labels = {"default": "empty", "full": f"{history:,} published, {HELD:,} held"}
        settings: dict[str, Any] = {
            "history": history,
            "held": HELD,
            "table bytes": execute("SELECT pg_table_size('outbox_events')", using="full"),
            "index bytes": execute("SELECT pg_indexes_size('outbox_events')", using="full"),
            "postgresql": postgresql(),
        }
        measures: list[tuple[str, int, Callable[[str], float]]] = [
            ("publish", rounds * 3, publish),
            ("relay", rounds, relay),
            ("relay_scattered", rounds, lambda using: relay(using, aggregates=RELAYED)),
        ]
        for name, times, action in measures:
            cases: dict[str, Callable[[], float]] = {
                label: lambda using=using, action=action: action(using)
                for using, label in labels.items()
            }
            for case in cases.values():
                case()
            figures = in_turn(cases, times)
            report(
                f"outbox_growth_{name}",
                figures,
                unit="microseconds an event",
                against="empty",
                settings=settings,
                targets=[Target(labels["full"], against="empty", most=1.2)],
            )


def complete() -> bool:
    """Whether the database was filled to the end, by an earlier run."""
    return bool(execute("SELECT to_regclass('bench_complete') IS NOT NULL", using="full"))


def fill(history: int) -> None:
    indexes = _indexes()
    for name, _ in indexes:
        execute(f"DROP INDEX {name}", using="full")
    for first in range(1, history + 1, PART):
        last = min(first + PART - 1, history)
        progress(f"filling {last:,} of {history:,}")
        execute(
            HISTORY,
            {"payload": PAYLOAD_TEXT, "first": first, "last": last, "all": history},
            using="full",
        )
    execute(WAITING, {"aggregate": PARKED, "payload": PAYLOAD_TEXT, "number": HELD}, using="full")
    execute(PARK, [PARKED.int & 63, PARKED], using="full")
    for name, definition in indexes:
        progress(f"making {name}")
        execute(definition, using="full")
    execute("VACUUM (ANALYZE) outbox_events", using="full")
    execute("CREATE TABLE bench_complete ()", using="full")
    execute("CHECKPOINT", using="full")


def _indexes() -> list[tuple[str, str]]:
    """Those that are quicker made at the end."""
    from django.db import connections  # noqa: PLC0415

    with connections["full"].cursor() as cursor:
        cursor.execute(
            "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index "
            "WHERE indrelid = 'outbox_events'::regclass AND NOT indisunique"
        )
        return cursor.fetchall()


def publish(using: str) -> float:
    """Each event in a transaction of its own, about a new aggregate."""
    from django.db import transaction  # noqa: PLC0415

    from outbox.services.publish import publish as publish_one  # noqa: PLC0415

    aggregates = [uuid.uuid4() for _ in range(PUBLISHED)]
    started = time.perf_counter()
    for aggregate in aggregates:
        with transaction.atomic(using=using):
            publish_one("JobCreated", "JOB", aggregate, PAYLOAD, using=using)
    return (time.perf_counter() - started) / PUBLISHED * 1e6


def relay(using: str, *, aggregates: int = 1_000) -> float:
    """Events about so many new aggregates, to a publisher that takes everything."""
    from django.db import transaction  # noqa: PLC0415

    from outbox.conf import Destination  # noqa: PLC0415
    from outbox.relay import Relay  # noqa: PLC0415
    from outbox.services.publish import Draft, publish_many  # noqa: PLC0415

    keys = [uuid.uuid4() for _ in range(aggregates)]
    execute("CHECKPOINT", using=using)
    with transaction.atomic(using=using):
        publish_many(
            (
                Draft(
                    event_type="JobCreated",
                    aggregate_type="JOB",
                    aggregate_id=keys[number % aggregates],
                    payload=PAYLOAD,
                )
                for number in range(RELAYED)
            ),
            using=using,
        )
    one = Relay(
        using,
        Destination(name="default", publisher="unused"),
        Taker(remembers=False),
        stop=threading.Event(),
        once=True,
    )
    started = time.perf_counter()
    one.run()
    took = time.perf_counter() - started
    if one.counts.delivered < RELAYED:
        raise SystemExit(f"{one.counts.delivered} events were delivered of {RELAYED}.")
    return took / one.counts.delivered * 1e6


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:3]]
    main(*(numbers + [5, 10_000_000][len(numbers) :]))
