"""What it costs writers to wake the relay: 16 of them, each event in a transaction of its own.

Claim: they lose at most 15 % to our wake-up, where the usual trigger loses most of their rate.

usage: python benchmarks/bench_wakeup.py [ROUNDS [SECONDS]]

The writers are pgbench's, so that they and not Python are the limit; they call the function of
``publish`` as it is, or without what wakes. "Busy": nobody's gate is closed. "Sleeps and wakes": a
real relay in a process of its own, asleep at first, beside the same one that polls and never
listens: it takes processors and disk from the writers, and that is no matter of the wake-up. "Never
opens": the worst that could be, somebody who sleeps on whatever comes. The trigger is on a copy of
the table: AFTER INSERT FOR EACH STATEMENT, with pg_notify, and one who listens.
"""

from __future__ import annotations

import os
import re
import signal
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
from workload import PAYLOAD_TEXT, Taker  # noqa: E402

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
        whole = write(Path(folder) / "whole.sql", "outbox_publish")
        silent = write(Path(folder) / "silent.sql", variant("silent", "outbox_events"))
        trigger = write(Path(folder) / "trigger.sql", variant("triggering", "with_trigger"))

        def case(script: Path, listener: Callable[[], Any]) -> Callable[[], float]:
            def measured() -> float:
                execute("TRUNCATE outbox_events, with_trigger, outbox_lanes, outbox_relays")
                calm()
                with listener():
                    return rate(url, script, seconds)

            return measured

        figures = in_turn(
            {
                AGAINST: case(silent, nullcontext),
                "ours, relay busy": case(whole, nullcontext),
                "statement trigger": case(trigger, listening),
                "ours, a sleeper that never opens": case(whole, sleeping),
                "no wake-up, a relay polls": case(silent, lambda: relay(listens=False)),
                "ours, a relay sleeps and wakes": case(whole, lambda: relay(listens=True)),
            },
            rounds,
        )
        settings = {"writers": WRITERS, "seconds": seconds, "postgresql": postgresql()}
    report("wakeup", figures, unit="transactions a second", against=AGAINST, settings=settings)


def variant(name: str, table: str) -> str:
    """Make a function like ``outbox_publish`` that wakes nobody, and stores into this table."""
    text = execute("SELECT pg_get_functiondef('outbox_publish'::regproc)")
    body, ending = text[: text.index("    IF NOT pg_try")], "    RETURN true;\nEND\n$function$"
    body = body.replace("outbox_publish", name).replace("INTO outbox_events", f"INTO {table}")
    execute(body + ending)
    return name


def write(path: Path, function: str) -> Path:
    """A script of pgbench that stores an event with a new id, about some aggregate."""
    path.write_text(
        "\\set aggregate random(1, 1000000)\n"
        f"SELECT {function}(gen_random_uuid(), lpad(to_hex(:aggregate::int), 32, '0')::uuid, "
        f"'JOB', 'JobCreated', 1, '{PAYLOAD_TEXT}', NULL, NULL, NULL, 'default', false);\n"
    )
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
def sleeping() -> Iterator[None]:
    """Somebody who closed the gates, and hears nothing."""
    from hodei.polling import Bell  # noqa: PLC0415
    from outbox.keys import LANES  # noqa: PLC0415
    from outbox.wakeup import CHANNEL, GATE  # noqa: PLC0415

    def run(session: Any, ready: threading.Event, ended: threading.Event) -> None:
        bell = Bell(session, channel=CHANNEL, gate=GATE, listens=True)
        bell.close_gates(range(LANES))
        ready.set()
        while not ended.is_set():
            bell.wait(0.2)

    with beside("bench sleeper", run):
        yield


@contextmanager
def relay(*, listens: bool) -> Iterator[None]:
    """A relay in a process of its own, asleep at first; without ``listens`` as behind a pooler."""
    options = [] if listens else ["polling"]
    process = subprocess.Popen(
        [sys.executable, __file__, "--relay", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None  # noqa: S101
    process.stdout.readline()
    try:
        yield
    finally:
        process.terminate()
        _, errors = process.communicate()
    if process.returncode != -signal.SIGTERM:
        raise SystemExit(f"The relay ended: {errors[-1000:]}")


def run_relay(*, polling: bool) -> None:
    """The process of ``relay``: it takes everything, until it is killed."""
    from database import set_up  # noqa: PLC0415

    set_up(os.environ["DATABASE_URL"])
    from outbox import relay as module  # noqa: PLC0415
    from outbox.conf import Destination  # noqa: PLC0415

    if polling:
        module.is_pooled = lambda session: True
    one = module.Relay(
        "default",
        Destination(name="default", publisher="unused"),
        Taker(remembers=False),
        stop=threading.Event(),
    )
    threading.Timer(1.5, lambda: print("asleep", flush=True)).start()
    one.run()


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
    if "--relay" in sys.argv:
        run_relay(polling="polling" in sys.argv)
        sys.exit()
    numbers = [int(word) for word in sys.argv[1:3]]
    main(*(numbers + [5, 6][len(numbers) :]))
