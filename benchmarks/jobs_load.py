"""What the benchmarks of jobs share: jobs that do nothing, workers in processes of their own, and
the other job queues.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from database import execute, progress, recreate
from peers import CACHE, PeerMissing
from peers.queues import ALL
from workload import PAYLOAD, PAYLOAD_TEXT

HERE = Path(__file__).resolve().parent
EXECUTORS = {
    "noop": "jobs_load.Noop",
    "clock": "jobs_load.Clock",
    "python": "jobs.executors.python.PythonExecutor",
    "command": "jobs.executors.command.CommandExecutor",
}
SPEC = {"noop": PAYLOAD}
SPEC_TEXT = f'{{"noop": {PAYLOAD_TEXT}}}'
TASK_SPEC = {"python": {"task": "job_tasks.noop", "args": [], "kwargs": PAYLOAD}}
#: Settings with which every transition is an event and an audit record.
ON_RECORD = {"JOBS_AUDIT": "all", "JOBS_EVENTS": "all"}
TABLES = (
    "jobs",
    "job_queue",
    "job_queue_deferred",
    "job_leases",
    "job_failed_attempts",
    "workers",
    "audit_logs",
    "outbox_events",
)


class Noop:
    """An executor whose jobs do nothing."""

    default_timeout: float | None = None

    def validate(self, spec: Any) -> None: ...

    def open(self, slots: int) -> None: ...

    def run(self, run: Any) -> Any:
        from jobs.runs import Succeeded  # noqa: PLC0415

        return Succeeded(None)

    def close(self) -> None: ...


class Clock(Noop):
    """Its jobs write down how long ago they were enqueued, into the file BENCH_CLOCK."""

    def open(self, slots: int) -> None:
        path = os.environ["BENCH_CLOCK"]
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def run(self, run: Any) -> Any:
        delay = time.perf_counter() - run.spec["clock"]["at"]
        os.write(self._file, f"{delay}\n".encode())
        return super().run(run)

    def close(self) -> None:
        os.close(self._file)


def executors(*names: str) -> dict[str, str]:
    return {name: EXECUTORS[name] for name in names or ("noop", "python")}


def has_record() -> bool:
    """Whether this version knows ON_RECORD."""
    from importlib.util import find_spec  # noqa: PLC0415

    return find_spec("jobs.conf") is not None


def check_record(jobs: int) -> None:
    """End the benchmark unless each job has left an event and an audit record at least."""
    for table in ("audit_logs", "outbox_events"):
        if (found := execute(f"SELECT count(*) FROM {table}")) < jobs:
            raise SystemExit(f"{table} has {found} rows after {jobs} jobs: it was not on record.")


# --- the command line -----------------------------------------------------------------------------


def arguments(text: str, rounds: int, *, peers: bool = False) -> ArgumentParser:
    """A parser with ``--rounds``, and with ``--peers`` where others are compared with."""
    parser = ArgumentParser(description=text, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rounds", type=int, default=rounds, help="how often; by default %(default)s"
    )
    if peers:
        parser.add_argument(
            "--peers",
            type=_peers,
            default=list(ALL),
            help="names separated by commas, or none; by default all: " + ", ".join(ALL),
        )
    return parser


def _peers(words: str) -> list[str]:
    names = [] if words == "none" else words.split(",")
    if unknown := set(names) - set(ALL):
        raise ValueError(f"There is no peer {', '.join(sorted(unknown))}.")
    return names


# --- the tables -----------------------------------------------------------------------------------


def empty() -> None:
    execute(f"TRUNCATE {', '.join(TABLES)} CASCADE")


def calm() -> None:
    for table in TABLES:
        execute(f"VACUUM (ANALYZE) {table}")
    execute("CHECKPOINT")


def fill(jobs: int, spec: dict[str, Any] = SPEC, *, using: str = "default") -> None:
    from jobs.services.queue import enqueue_many  # noqa: PLC0415
    from jobs.spec import NewJob  # noqa: PLC0415

    enqueue_many((NewJob(spec=spec) for _ in range(jobs)), using=using)


# --- workers in processes of their own ------------------------------------------------------------


@contextmanager
def workers(number: int, settings: dict[str, Any] | None = None, **options: Any) -> Iterator[Any]:
    """So many worker processes, ready to begin: see ``Workers``. ``settings`` are Django's."""
    found = json.loads(os.environ["BENCH_SETTINGS"])
    environment = {**os.environ, "BENCH_SETTINGS": json.dumps({**found, **(settings or {})})}
    one = Workers(
        [
            subprocess.Popen(
                [sys.executable, str(HERE / "run_worker.py"), json.dumps(options)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**environment, "PYTHONPATH": str(HERE.parent)},
            )
            for _ in range(number)
        ]
    )
    try:
        one.hear()
        yield one
    finally:
        one.kill()


class Workers:
    """Each says a line when it is ready, and one with what it has done when it has ended."""

    def __init__(self, processes: Sequence[subprocess.Popen[str]]) -> None:
        self.processes = processes

    def begin(self) -> None:
        for process in self.processes:
            self._say(process, "begin\n")

    def stop(self) -> None:
        for process in self.processes:
            self._say(process, "stop\n")

    def hear(self) -> list[dict[str, Any]]:
        """Wait for a line of each. Ends the benchmark if one of them has ended."""
        found = []
        for process in self.processes:
            assert process.stdout is not None  # noqa: S101
            line = process.stdout.readline()
            if not line:
                raise SystemExit(f"A worker ended with {process.wait()}.")
            found.append(json.loads(line))
        return found

    def kill(self) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()

    @staticmethod
    def _say(process: subprocess.Popen[str], text: str) -> None:
        assert process.stdin is not None  # noqa: S101
        process.stdin.write(text)
        process.stdin.flush()


# --- others ---------------------------------------------------------------------------------------


def peer_cases(
    names: Sequence[str], url: str, missing: dict[str, str]
) -> dict[str, Callable[..., dict[str, Any]]]:
    """Those that can be run here, by name with version: a call with a verb and a number measures,
    and gives NaN as the rate where that failed. ``missing`` gets the reasons of the others."""
    database = url.rpartition("/")[2].partition("?")[0]
    found: dict[str, Callable[..., dict[str, Any]]] = {}
    for name in names:
        peer = ALL[name]
        label = f"{name} {peer.version}"
        progress(f"trying {label}, in {CACHE}")
        try:
            peer.install()
        except PeerMissing as error:
            missing[label] = str(error)
            continue

        def measure(verb: str, number: int, label: str = label, peer: Any = peer) -> Any:
            recreate(url.replace(f"/{database}?", "/postgres?"), "bench_peer")
            try:
                return peer.measure(url.replace(f"/{database}?", "/bench_peer?"), verb, number)
            except PeerMissing as error:
                missing[f"{label}, {verb}"] = str(error)
                return {"rate": math.nan, "seconds": []}

        found[label] = measure
    return found


def on_django(label: str) -> bool:
    from peers.queues import ON_DJANGO  # noqa: PLC0415

    return label.split(" ", maxsplit=1)[0].rstrip(",") in ON_DJANGO
