"""How fast events leave the outbox: our relay, bare SQL on the same table, other outboxes.

Claims: the relay delivers at least 30,000 events/s to a publisher that does nothing (or more than
half of what bare SQL reaches where that is below 60,000), with 1,000 aggregates and with 20, each
in order; at least 10,000 events/s into NATS JetStream.

usage: python benchmarks/bench_relay.py [ROUNDS [EVENTS]]

Events have a payload of about 200 bytes, and ids as ``publish_many`` gives them. Bare SQL is one
loop through psycopg: select 5,000 by the same index, update them by their ids, which is what the
server has to do at least. It shares with nobody, knows no failure and sends nothing. "Slim" is what
is usual elsewhere: 500 at a time, locked, in a table of two indexes where ours has seven. Other
outboxes run on the same server, with fewer events, since they need seconds for thousands. What
cannot be run here is said, and stands in the results.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from database import CACHE, calm, execute, migrated, postgresql, progress, recreate  # noqa: E402
from measuring import in_turn, report  # noqa: E402
from peers import Peer, PeerMissing  # noqa: E402
from workload import PAYLOAD, PAYLOAD_TEXT, Taker  # noqa: E402

LIMIT = "bare SQL"
PEER_EVENTS = 2_000
PEERS: dict[str, tuple[Peer, Sequence[int]]] = {
    "django-reliable-outbox": (
        Peer("django-reliable-outbox", "0.1.1", "run_reliable_outbox.py", (3, 12)),
        (PEER_EVENTS, 1, 10),
    ),
    "django-reliable-outbox, 4 threads, batches of 100": (
        Peer("django-reliable-outbox", "0.1.1", "run_reliable_outbox.py", (3, 12)),
        (PEER_EVENTS, 4, 100),
    ),
    "django-outbox-pattern": (
        Peer("django-outbox-pattern", "3.2.1", "run_outbox_pattern.py"),
        (PEER_EVENTS,),
    ),
}
NATS = "NATS JetStream, 1,000 aggregates"
NATS_URL = "nats://127.0.0.1:4222"
STREAM = "HODEI_BENCH_RELAY"
COLUMNS = (
    "id, aggregate_id, aggregate_type, event_type, event_version, payload, created_at, seq, "
    "destination"
)
SLIM = """
    CREATE TABLE slim (id bigserial PRIMARY KEY, destination text, payload jsonb,
                       status smallint NOT NULL DEFAULT 0, created_at timestamptz DEFAULT now());
    CREATE INDEX ON slim (id) WHERE status = 0"""


def main(rounds: int, events: int) -> None:
    with migrated("bench_relay") as url:
        recreate(url, "bench_relay_peers")
        execute(SLIM)
        for aggregates in (1_000, 20):
            make(events, aggregates)
        missing: dict[str, str] = {}
        cases: dict[str, Callable[[], float]] = {
            LIMIT: lambda: bare(url, events),
            "bare SQL, slim": lambda: slim(url, events),
            "relay, 1,000 aggregates": lambda: relay(events, 1_000),
            "relay, 20 aggregates": lambda: relay(events, 20),
        }
        add_nats(cases, events, missing)
        add_peers(cases, url.replace("bench_relay", "bench_relay_peers"), missing)
        figures = in_turn(cases, rounds)
        settings = {
            "events": events,
            "events of other outboxes": PEER_EVENTS,
            "payload bytes": len(PAYLOAD_TEXT),
            "not run": missing,
            "postgresql": postgresql(),
        }
    report("relay", figures, unit="events a second", against=LIMIT, settings=settings)
    for name, why in missing.items():
        print(f"  NOT RUN {name}: {why}")


def make(events: int, aggregates: int) -> None:
    """Publish them once, and keep them in a table to copy from, a millisecond apart."""
    from django.db import transaction  # noqa: PLC0415

    from outbox.services.publish import Draft, publish_many  # noqa: PLC0415

    keys = [uuid.uuid4() for _ in range(aggregates)]
    with transaction.atomic():
        publish_many(
            Draft(
                event_type="JobCreated",
                aggregate_type="JOB",
                aggregate_id=keys[number % aggregates],
                payload=PAYLOAD,
            )
            for number in range(events)
        )
        execute(f"CREATE TABLE made_{aggregates} AS SELECT {COLUMNS} FROM outbox_events")
        execute(f"UPDATE made_{aggregates} SET created_at = created_at + seq * interval '1 ms'")
    execute("TRUNCATE outbox_events")


def fill(aggregates: int) -> None:
    execute("TRUNCATE outbox_events, outbox_lanes, outbox_keys, outbox_relays")
    execute(
        f"INSERT INTO outbox_events ({COLUMNS}) "
        f"SELECT {COLUMNS} FROM made_{aggregates} ORDER BY seq"
    )
    calm()


def done(events: int) -> None:
    published = execute("SELECT count(*) FROM outbox_events WHERE status = 'PUBLISHED'")
    if published != events:
        raise SystemExit(f"{published} of {events} events are marked as published.")


def bare(url: str, events: int) -> float:
    fill(1_000)
    rate = loop(
        url,
        "SELECT id, event_type, aggregate_id, payload FROM outbox_events WHERE status = 'PENDING' "
        "AND NOT held ORDER BY destination, lane, seq LIMIT 5000",
        "UPDATE outbox_events SET status = 'PUBLISHED', published_at = clock_timestamp() "
        "WHERE id = ANY(%s)",
        events,
    )
    done(events)
    return rate


def slim(url: str, events: int) -> float:
    execute("TRUNCATE slim")
    execute(
        "INSERT INTO slim (destination, payload) SELECT 'default', %s FROM generate_series(1, %s)",
        [PAYLOAD_TEXT, events],
    )
    execute("VACUUM (ANALYZE) slim")
    execute("CHECKPOINT")
    return loop(
        url,
        "SELECT id, destination, payload FROM slim WHERE status = 0 "
        "ORDER BY id LIMIT 500 FOR UPDATE SKIP LOCKED",
        "UPDATE slim SET status = 1 WHERE id = ANY(%s)",
        events,
    )


def loop(url: str, select: str, update: str, events: int) -> float:
    import psycopg  # noqa: PLC0415

    taken = 0
    with psycopg.connect(url, autocommit=True) as session:
        started = time.perf_counter()
        while True:
            with session.transaction():
                rows = session.execute(select).fetchall()
                if rows:
                    session.execute(update, [[row[0] for row in rows]])
            if not rows:
                break
            taken += len(rows)
        took = time.perf_counter() - started
    if taken != events:
        raise SystemExit(f"{taken} events were taken of {events}.")
    return taken / took


def relay(events: int, aggregates: int, publisher: Any = None) -> float:
    from outbox.conf import Destination  # noqa: PLC0415
    from outbox.relay import Relay  # noqa: PLC0415

    fill(aggregates)
    taker = Taker()
    one = Relay(
        "default",
        Destination(name="default", publisher="unused"),
        publisher or taker,
        stop=threading.Event(),
        once=True,
    )
    started = time.perf_counter()
    one.run()
    took = time.perf_counter() - started
    if publisher is None:
        taker.check(events)
    done(events)
    return events / took


def add_nats(cases: dict[str, Callable[[], float]], events: int, missing: dict[str, str]) -> None:
    try:
        from outbox.publishers.nats import NatsPublisher  # type: ignore[import-not-found]  # noqa: PLC0415,I001
        import nats  # noqa: PLC0415
    except ImportError as error:
        missing[NATS] = str(error)
        return

    async def fresh_stream() -> None:
        client = await nats.connect(NATS_URL, allow_reconnect=False, connect_timeout=2)
        stream = client.jetstream()
        with suppress(nats.js.errors.NotFoundError):
            await stream.delete_stream(STREAM)
        await client.close()

    def publisher() -> Any:
        return NatsPublisher(
            source="/bench",
            namespace="bench",
            stream=STREAM,
            url=NATS_URL,
            subject="bench.relay.{aggregate_type}",
        )

    def case() -> float:
        asyncio.run(fresh_stream())
        report = publisher().create_stream()
        if report.problems:
            raise SystemExit(f"NATS: {report.problems}")
        try:
            return relay(events, 1_000, publisher())
        finally:
            asyncio.run(fresh_stream())

    try:
        asyncio.run(fresh_stream())
    except (nats.errors.Error, OSError, TimeoutError) as error:
        missing[NATS] = f"{NATS_URL}: {type(error).__name__}: {error}"
        return
    cases[NATS] = case


def add_peers(cases: dict[str, Callable[[], float]], url: str, missing: dict[str, str]) -> None:
    for name, (peer, words) in PEERS.items():
        try:
            progress(f"trying {name} {peer.version}, in {CACHE / 'peers'}")
            peer.measure(url, *words)
        except PeerMissing as error:
            missing[f"{name} {peer.version}"] = str(error)
            continue
        cases[f"{name} {peer.version}"] = lambda peer=peer, words=words: float(
            peer.measure(url, *words)["rate"]
        )


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:3]]
    main(*(numbers + [3, 50_000][len(numbers) :]))
