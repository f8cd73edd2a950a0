"""A migrated database of this project for benchmarks that run in this process, and Django on it.

Like every benchmark's, on the embedded PostgreSQL, in ``.hodei/bench``, with its own configuration.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".hodei" / "bench"
SETTINGS = (
    "fsync",
    "full_page_writes",
    "max_wal_size",
    "server_version",
    "shared_buffers",
    "synchronous_commit",
)


@contextmanager
def server() -> Iterator[Any]:
    """The embedded PostgreSQL, for the time of the block."""
    from hodei.db.embedded.binaries import default  # noqa: PLC0415
    from hodei.db.embedded.location import locate  # noqa: PLC0415
    from hodei.db.embedded.server import Server  # noqa: PLC0415

    one = Server(locate(CACHE), default())
    one.start()
    try:
        yield one
    finally:
        one.stop()


@contextmanager
def migrated(name: str, outbox: dict[str, Any] | None = None, **settings: Any) -> Iterator[str]:
    """Start the server, make the database anew, set Django up on it; gives its URL. ``settings``
    are Django's, also for the processes that this one starts."""
    with server() as one:
        recreate(one.url("postgres"), name)
        os.environ["BENCH_SETTINGS"] = json.dumps(settings)
        set_up(one.url(name), outbox)
        from django.core.management import call_command  # noqa: PLC0415
        from django.db import connections  # noqa: PLC0415

        call_command("migrate", verbosity=0)
        # One connection is used by a benchmark for as long as it runs, like a worker's.
        connections["default"].close()
        yield one.url(name)
        connections.close_all()


def recreate(admin: str, name: str) -> None:
    import psycopg  # noqa: PLC0415

    with psycopg.connect(admin, autocommit=True) as session:
        session.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        session.execute(f'CREATE DATABASE "{name}"')


def set_up(url: str, outbox: dict[str, Any] | None = None) -> None:
    """Let Django use that database; also for the processes that this one starts.

    BENCH_SETTINGS has further settings, as JSON.
    """
    os.environ["DATABASE_URL"] = url
    os.environ["DJANGO_SETTINGS_MODULE"] = "hodei.settings"
    os.environ.setdefault("LOG_LEVEL", "ERROR")
    from hodei import env  # noqa: PLC0415

    env.declare(env.process_of(["manage.py", "migrate"]))
    import django  # noqa: PLC0415
    from django.conf import settings  # noqa: PLC0415

    if outbox is not None:
        settings.HODEI_OUTBOX = outbox
    for key, value in json.loads(os.environ.get("BENCH_SETTINGS", "{}")).items():
        setattr(settings, key, value)
    django.setup()


def add(alias: str, url: str, *, complete: Callable[[], bool]) -> bool:
    """Another database of that server under an alias: as it is if it is complete, else migrated
    anew. Tells whether it was made."""
    import psycopg  # noqa: PLC0415
    from django.core.management import call_command  # noqa: PLC0415
    from django.db import connections  # noqa: PLC0415

    name = urlsplit(url).path.strip("/")
    connections.settings[alias] = {**connections.settings["default"], "NAME": name}
    try:
        psycopg.connect(url).close()
        if complete():
            call_command("migrate", verbosity=0, database=alias)
            return False
    except psycopg.OperationalError:
        pass
    connections[alias].close()
    recreate(url.replace(f"/{name}?", "/postgres?"), name)
    call_command("migrate", verbosity=0, database=alias)
    return True


def postgresql() -> list[str]:
    """The settings of the server that matter, for the report."""
    from django.db import connections  # noqa: PLC0415

    with connections["default"].cursor() as cursor:
        cursor.execute(
            "SELECT name || '=' || current_setting(name) FROM pg_settings "
            "WHERE name = ANY(%s) ORDER BY name",
            [list(SETTINGS)],
        )
        return [row[0] for row in cursor.fetchall()]


def execute(statement: str, parameters: Any = None, *, using: str = "default") -> Any:
    """Run a statement by Django's connection, and return the first column of its first row."""
    from django.db import connections  # noqa: PLC0415

    with connections[using].cursor() as cursor:
        cursor.execute(statement, parameters)
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def calm() -> None:
    """What one case left behind is no matter of the next."""
    execute("VACUUM (ANALYZE) outbox_events")
    execute("CHECKPOINT")


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def processor_seconds(process: int | None = None) -> float:
    """Time that processors have spent on this process, and on its server process (or another's).

    It says more than the clock on a machine that has other work too. Linux alone tells it so
    finely; 0.0 elsewhere.
    """
    from django.db import connections  # noqa: PLC0415

    if process is None:
        process = connections["default"].connection.info.backend_pid
    try:
        text = Path(f"/proc/{process}/schedstat").read_text()
    except OSError:
        return 0.0
    return time.process_time() + int(text.split()[0]) / 1e9
