"""What it costs writers to wake the relay: 16 of them, each event in a transaction of its own.

Claim: they lose at most 15 % to our wake-up, where the usual trigger loses most of their rate.

usage: python benchmarks/bench_wakeup.py [ROUNDS [SECONDS]]

The writers are pgbench's, so that they and not Python are the limit; they run the statement of
``publish`` as it is, or without what wakes. "Busy": nobody's gate is closed. "Sleeping": somebody
waits as the relay does, is woken, looks until there is nothing new, and goes to sleep again. "Never
opens": the worst that could be, somebody who sleeps on whatever comes. The trigger is on a copy of
the table: AFTER INSERT FOR EACH STATEMENT, with pg_notify, and one who listens.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from database import calm, execute, migrated, postgresql  # noqa: E402
from measuring import in_turn, report  # noqa: E402
from workload import PAYLOAD_TEXT  # noqa: E402

WRITERS = 16
AGAINST = "no wake-up"
TRIGGER = """
    CREATE TABLE with_trigger (LIKE outbox_events INCLUDING ALL);
    CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN PERFORM pg_notify('bench_trigger', ''); RETURN NULL; END $$;
    CREATE TRIGGER tell AFTER INSERT ON with_trigger
        FOR EACH STATEMENT EXECUTE FUNCTION tell()"""


def main(rounds: int, seconds: int) -> None:
    with migrated("bench_wakeup") as url, tempfile.TemporaryDirectory() as folder:
        execute(TRIGGER)
        whole = write(Path(folder) / "whole.sql", publish())
        silent = write(Path(folder) / "silent.sql", without_waking(publish()))
        trigger = write(
            Path(folder) / "trigger.sql",
            without_waking(publish()).replace("outbox_events (", "with_trigger (", 1),
        )

        def case(script: Path, listener: Callable[[], Any]) -> Callable[[], float]:
            def measured() -> float:
                execute("TRUNCATE outbox_events, with_trigger")
                calm()
                with listener():
                    return rate(url, script, seconds)

            return measured

        figures = in_turn(
            {
                AGAINST: case(silent, nullcontext),
                "ours, relay busy": case(whole, nullcontext),
                "ours, relay sleeping": case(whole, lambda: sleeper(opens=True)),
                "ours, a sleeper that never opens": case(whole, lambda: sleeper(opens=False)),
                "statement trigger": case(trigger, listening),
            },
            rounds,
        )
        settings = {"writers": WRITERS, "seconds": seconds, "postgresql": postgresql()}
    report("wakeup", figures, unit="transactions a second", against=AGAINST, settings=settings)


def publish() -> str:
    """The statement of ``publish`` for pgbench, with an aggregate and an id of its own each time."""
    from hodei.sql import statement  # noqa: PLC0415
    from outbox.services.publish import TURN  # noqa: PLC0415
    from outbox.wakeup import CHANNEL, GATE  # noqa: PLC0415

    values = {
        "id": "gen_random_uuid()",
        "aggregate_id": "lpad(to_hex(:aggregate::int), 32, '0')",
        "aggregate_type": "'JOB'",
        "event_type": "'JobCreated'",
        "event_version": "1",
        "payload": f"'{PAYLOAD_TEXT}'",
        "metadata": "NULL",
        "idempotency_key": "NULL",
        "aggregate_key": "NULL",
        "destination": "'default'",
        "turn": str(TURN),
        "gate": str(GATE),
        "channel": f"'{CHANNEL}'",
        "lane": "(:aggregate::int & 63)",
        "turn_of": "'JOB:' || :aggregate::int",
    }
    text = statement("outbox", "publish")
    for name, value in values.items():
        text = text.replace(f"%({name})s", value)
    return text


def without_waking(text: str) -> str:
    return text[: text.index("RETURNING")] + "RETURNING lane"


def write(path: Path, text: str) -> Path:
    path.write_text(f"\\set aggregate random(1, 1000000)\n{' '.join(text.split())};\n")
    return path


def rate(url: str, script: Path, seconds: int) -> float:
    from hodei.db.embedded.binaries import default  # noqa: PLC0415

    told = subprocess.run(
        [
            *(default().program("pgbench"), "--no-vacuum", "--protocol=prepared"),
            *(f"--client={WRITERS}", "--jobs=2", f"--time={seconds}", f"--file={script}", url),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"tps = ([0-9.]+)", told.stdout)
    if found is None or "ERROR" in told.stderr:
        raise SystemExit(f"pgbench failed: {told.stderr[-1000:]}{told.stdout[-500:]}")
    return float(found[1])


@contextmanager
def sleeper(*, opens: bool) -> Iterator[None]:
    """Somebody who waits for events of all lanes as the relay does: looks while there is something
    new, closes the gates, looks once more, and waits for the bell."""
    from hodei.polling import Bell  # noqa: PLC0415
    from outbox.keys import LANES  # noqa: PLC0415
    from outbox.wakeup import CHANNEL, GATE  # noqa: PLC0415

    def run(session: Any, ready: threading.Event, ended: threading.Event) -> None:
        bell = Bell(session, channel=CHANNEL, gate=GATE, listens=True)
        bell.close_gates(range(LANES))
        ready.set()
        seen = 0

        def look() -> bool:
            nonlocal seen
            before = seen
            row = session.execute("SELECT coalesce(max(seq), 0) FROM outbox_events").fetchone()
            seen = row[0]
            return seen > before

        while not ended.is_set():
            if not bell.wait(0.2) or not opens:
                continue
            bell.open_gates()
            while not ended.is_set():
                if look():
                    continue
                bell.close_gates(range(LANES))
                if not look():
                    break
                bell.open_gates()

    with beside("bench sleeper", run):
        yield


@contextmanager
def listening() -> Iterator[None]:
    """Somebody who listens to the trigger."""

    def run(session: Any, ready: threading.Event, ended: threading.Event) -> None:
        session.execute("LISTEN bench_trigger")
        ready.set()
        while not ended.is_set():
            for _ in session.notifies(timeout=0.2, stop_after=1):
                pass

    with beside("bench listener", run):
        yield


@contextmanager
def beside(
    name: str, run: Callable[[Any, threading.Event, threading.Event], None]
) -> Iterator[None]:
    """Somebody else at work, in a thread with a session of its own, for the time of the block."""
    from hodei.sessions import connect  # noqa: PLC0415

    ready, ended = threading.Event(), threading.Event()
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            with connect("default", name) as session:
                run(session, ready, ended)
        except BaseException as error:  # noqa: BLE001
            errors.append(error)
            ready.set()

    thread = threading.Thread(target=guarded)
    thread.start()
    ready.wait()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    if errors:
        raise errors[0]


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:3]]
    main(*(numbers + [5, 6][len(numbers) :]))
