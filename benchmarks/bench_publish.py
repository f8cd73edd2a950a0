"""What it costs to publish an event, against storing the same row by hand.

Claims: ``publish`` costs at most 1.15 times the bare INSERT of the same row through Django's
cursor, each in a transaction of its own; ``publish_many`` of 50,000 events beside COPY and unnest
into the same table.

usage: python benchmarks/bench_publish.py [ROUNDS [EVENTS]]

The bare INSERT and COPY get every value ready-made, the payload as JSON text: they check nothing,
keep no order and wake nobody. What they have to do is the limit. The second table is the time that
processors spend on it, here and in the server's process, without the wait for the disk.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from database import calm, execute, migrated, postgresql, processor_seconds  # noqa: E402
from measuring import in_turn, report  # noqa: E402
from workload import PAYLOAD, PAYLOAD_TEXT  # noqa: E402

#: Transactions of one case in one round.
SINGLE = 1_000
INSERT = """
    INSERT INTO outbox_events (id, aggregate_id, aggregate_type, event_type, payload)
    VALUES (%s, %s, %s, %s, %s)"""
COPY = """
    COPY outbox_events (id, aggregate_id, aggregate_type, event_type, event_version, payload,
                        destination) FROM STDIN"""
UNNEST = """
    INSERT INTO outbox_events (id, aggregate_id, aggregate_type, event_type, event_version, payload,
                               destination)
    SELECT id, aggregate_id, 'JOB', 'JobCreated', 1, payload, 'default'
      FROM unnest(%s::uuid[], %s::uuid[], %s::jsonb[]) AS new (id, aggregate_id, payload)"""


def main(rounds: int, events: int) -> None:
    with migrated("bench_publish"):
        one_by_one(rounds)
        together(rounds, events)


def one_by_one(rounds: int) -> None:
    from django.db import connection, transaction  # noqa: PLC0415

    from hodei.compat import uuid7  # noqa: PLC0415
    from outbox.services.publish import publish  # noqa: PLC0415

    aggregates = [uuid.uuid4() for _ in range(SINGLE)]

    def bare() -> None:
        for aggregate in aggregates:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(INSERT, [uuid7(), aggregate, "JOB", "JobCreated", PAYLOAD_TEXT])

    def ours(**options: Any) -> None:
        for aggregate in aggregates:
            with transaction.atomic():
                publish("JobCreated", "JOB", aggregate, PAYLOAD, **options)

    spent: dict[str, list[float]] = {}

    def case(name: str, action: Callable[[], None]) -> Callable[[], float]:
        spent[name] = []

        def measured() -> float:
            processors = processor_seconds()
            started = time.perf_counter()
            action()
            took = time.perf_counter() - started
            spent[name].append((processor_seconds() - processors) / SINGLE * 1e6)
            return took / SINGLE * 1e6

        return measured

    cases = {
        "bare INSERT": case("bare INSERT", bare),
        "publish": case("publish", ours),
        "publish, aggregate_locked": case(
            "publish, aggregate_locked", lambda: ours(aggregate_locked=True)
        ),
    }
    settings = {
        "transactions": SINGLE,
        "payload bytes": len(PAYLOAD_TEXT),
        "postgresql": postgresql(),
    }
    execute("TRUNCATE outbox_events")
    bare()
    ours()
    calm()
    # Single commits wait for the disk, whose mood changes: many short turns.
    figures = in_turn(cases, rounds * 3)
    for name, values, unit in (
        ("publish", figures, "microseconds a transaction"),
        ("publish_processor", spent, "microseconds of processors a transaction"),
    ):
        report(name, values, unit=unit, against="bare INSERT", settings=settings)


def together(rounds: int, events: int) -> None:
    from django.db import connection, transaction  # noqa: PLC0415

    from hodei.compat import uuid7  # noqa: PLC0415
    from outbox.services.publish import Draft, publish_many  # noqa: PLC0415

    aggregates = [uuid.uuid4() for _ in range(min(events, 1_000))]
    about = [aggregates[number % len(aggregates)] for number in range(events)]

    def copy() -> None:
        with connection.cursor() as cursor, cursor.copy(COPY) as out:
            for aggregate in about:
                out.write_row((uuid7(), aggregate, "JOB", "JobCreated", 1, PAYLOAD_TEXT, "default"))

    def unnest() -> None:
        with connection.cursor() as cursor:
            for start in range(0, events, 5_000):
                part = about[start : start + 5_000]
                ids = [uuid7() for _ in part]
                cursor.execute(UNNEST, [ids, part, [PAYLOAD_TEXT] * len(part)])

    def ours() -> None:
        publish_many(
            Draft(
                event_type="JobCreated",
                aggregate_type="JOB",
                aggregate_id=aggregate,
                payload=PAYLOAD,
            )
            for aggregate in about
        )

    def case(action: Callable[[], None]) -> Callable[[], float]:
        def measured() -> float:
            execute("TRUNCATE outbox_events")
            calm()
            started = time.perf_counter()
            with transaction.atomic():
                action()
            took = time.perf_counter() - started
            if execute("SELECT count(*) FROM outbox_events") != events:
                raise SystemExit("Not every event was stored.")
            return events / took

        return measured

    figures = in_turn(
        {"COPY": case(copy), "unnest of 5,000": case(unnest), "publish_many": case(ours)}, rounds
    )
    report(
        "publish_many",
        figures,
        unit="events a second",
        against="COPY",
        settings={
            "events": events,
            "aggregates": len(aggregates),
            "payload bytes": len(json.dumps(PAYLOAD)),
            "postgresql": postgresql(),
        },
    )


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:3]]
    main(*(numbers + [5, 50_000][len(numbers) :]))
