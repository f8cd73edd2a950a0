"""Measures a backend of Django's tasks that has a worker command: enqueue, bulk, drain, pick-up.

usage of each script: run_X.py URL enqueue|bulk|drain|pickup NUMBER

A drain is timed from the first job that was run to the last row that says so: the start of a worker
is not in.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

HERE = Path(__file__).resolve().parent
sys.path.insert(1, str(HERE.parent))

from workload import PAYLOAD  # noqa: E402

#: Seconds that a worker has to begin, and a drain to end.
STARTING, DRAINING = 30, 200
#: Seconds between asking a worker to end and making it.
KILLING = 3


@dataclass(frozen=True, slots=True)
class Backend:
    settings: dict[str, Any]
    #: Words after ``python -m django`` of one worker.
    worker: Sequence[str]
    #: Counts the rows that are not done.
    left: str
    #: Settings that differ in its worker.
    worker_settings: dict[str, Any] = field(default_factory=dict)
    #: Words and pauses in seconds that are different for the pick-up.
    pickup_worker: Sequence[str] | None = None
    pauses: tuple[float, float] = (0.02, 0.05)
    #: Enqueue one job; so many with what it has for that; None is a loop in one transaction.
    enqueue: Callable[[str, dict[str, Any]], Any] | None = None
    bulk: Callable[[int], Any] | None = None


def database(url: str, **more: Any) -> dict[str, Any]:
    """A database of Django by a URL whose ``host`` is a folder of sockets."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.strip("/"),
        "USER": parts.username,
        "HOST": query["host"][0],
        "PORT": query["port"][0],
        "CONN_MAX_AGE": None,
        **more,
    }


def main(backend: Backend) -> None:
    url, verb, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with tempfile.TemporaryDirectory() as folder:
        set_up(backend, url, folder)
        print(json.dumps(VERBS[verb](backend, number, Path(folder))))


def set_up(backend: Backend, url: str, folder: str) -> None:
    settings = {
        "SECRET_KEY": "bench",
        "USE_TZ": True,
        "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
        "LOGGING": {"version": 1, "root": {"level": "CRITICAL", "handlers": []}},
        "DATABASES": {"default": database(url)},
        **backend.settings,
    }
    os.environ["PEER_FOLDER"] = folder
    os.environ["PEER_SETTINGS"] = json.dumps(settings)
    os.environ["DJANGO_SETTINGS_MODULE"] = "peer_settings"
    import django  # noqa: PLC0415
    from django.core.management import call_command  # noqa: PLC0415

    django.setup()
    call_command("migrate", verbosity=0)
    for name, value in backend.worker_settings.items():
        settings[name] = {**settings[name], **value} if isinstance(value, dict) else value
    os.environ["PEER_SETTINGS"] = json.dumps(settings)


def put(backend: Backend, name: str, payload: dict[str, Any]) -> None:
    if backend.enqueue is not None:
        backend.enqueue(name, payload)
        return
    from peer_app import tasks  # noqa: PLC0415

    getattr(tasks, name).enqueue(**payload)


def enqueue(backend: Backend, number: int, folder: Path) -> dict[str, Any]:
    for _ in range(50):
        put(backend, "noop", PAYLOAD)
    started = time.perf_counter()
    for _ in range(number):
        put(backend, "noop", PAYLOAD)
    return result(rate=number / (time.perf_counter() - started))


def bulk(backend: Backend, number: int, folder: Path) -> dict[str, Any]:
    calm()
    started = time.perf_counter()
    fill(backend, number)
    took = time.perf_counter() - started
    return result(rate=number / took, bulk=backend.bulk is not None)


def fill(backend: Backend, number: int) -> None:
    from django.db import transaction  # noqa: PLC0415

    if backend.bulk is not None:
        backend.bulk(number)
        return
    with transaction.atomic():
        for _ in range(number):
            put(backend, "noop", PAYLOAD)


def drain(backend: Backend, number: int, folder: Path) -> dict[str, Any]:
    fill(backend, number)
    calm()
    ran = folder / "ran"
    ran.touch()
    with worker(backend.worker) as process:
        wait(process, lambda: ran.stat().st_size > 0, STARTING, "ran no job")
        first, started = ran.stat().st_size, time.perf_counter()
        wait(process, lambda: ran.stat().st_size >= number, DRAINING, "did not run every job")
        wait(process, lambda: query(backend.left) == 0, STARTING, "left jobs that were not done")
        took = time.perf_counter() - started
    return result(rate=(number - first) / took)


def pickup(backend: Backend, number: int, folder: Path) -> dict[str, Any]:
    clock = folder / "clock"
    clock.touch()
    put(backend, "clock", {"at": time.perf_counter(), **PAYLOAD})
    with worker(backend.pickup_worker or backend.worker) as process:
        wait(process, lambda: clock.stat().st_size > 0, STARTING, "ran no job")
        time.sleep(1)
        for _ in range(number):
            time.sleep(random.uniform(*backend.pauses))  # noqa: S311
            put(backend, "clock", {"at": time.perf_counter(), **PAYLOAD})
        wait(process, lambda: len(lines(clock)) > number, STARTING, "did not run every job")
    return result(seconds=[float(line) for line in lines(clock)[1:]])


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def wait(process: subprocess.Popen[str], done: Callable[[], bool], seconds: int, what: str) -> None:
    end = time.perf_counter() + seconds
    while not done():
        if time.perf_counter() > end:
            raise SystemExit(f"The worker {what} within {seconds} s.")
        if process.poll() is not None and not done():
            raise SystemExit(f"The worker ended with {process.returncode}, and {what}.")
        time.sleep(0.003)


@contextmanager
def worker(words: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "django", *words],
        env={**os.environ, "PYTHONPATH": str(HERE)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[str]) -> None:
    """Of it and of what it has started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(KILLING)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def query(sql: str) -> Any:
    from django.db import connection  # noqa: PLC0415

    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def calm() -> None:
    from django.db import connection  # noqa: PLC0415

    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")


def result(**found: Any) -> dict[str, Any]:
    import platform  # noqa: PLC0415

    import django  # noqa: PLC0415

    return {**found, "python": platform.python_version(), "django": django.get_version()}


VERBS: dict[str, Callable[[Backend, int, Path], dict[str, Any]]] = {
    "enqueue": enqueue,
    "bulk": bulk,
    "drain": drain,
    "pickup": pickup,
}
