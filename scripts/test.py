"""Lint and test the project on the embedded PostgreSQL and on the system's.

usage: python scripts/test.py [--lint | --no-lint] [--all] [--coverage] [pytest arguments]

The system's PostgreSQL, 15 or newer, is a server of DATABASE_URL_15, or else a private one that is
started with the binaries of the newest version found. HODEI_REQUIRE names what must not be missing
(postgresql, browser, pgbouncer, nats, rabbitmq, redis): a missing one is otherwise said and passed
over.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hodei.db.embedded.binaries import Binaries
    from hodei.db.embedded.server import Server

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
#: A file system in memory, and the free bytes from which on it has room for a server of the tests.
#: To make and to drop a database, hundreds of times, takes a fifth there.
MEMORY = Path("/dev/shm")  # noqa: S108  (folders in it are made under new names)
ROOM = 4 << 30
OLDEST = 15
NEWEST = 18

sys.path.insert(0, str(ROOT))


#: Tests of programs, pages, documentation and brokers, those that ask no server, of bad arguments,
#: of two who meet, and of whatever may happen in some order: what they need of a server is the same
#: on every version, so that the newest is enough, except for ``--all``.
ANY_SERVER = (
    "tests/acceptance",
    "tests/admin",
    "tests/browser",
    "tests/docs",
    "tests/faults",
    "tests/hodei",
    "tests/jobs/test_act_command.py",
    "tests/jobs/test_backend_shape.py",
    "tests/jobs/test_busy_worker.py",
    "tests/jobs/test_command",
    "tests/jobs/test_enqueue_command.py",
    "tests/jobs/test_held.py",
    "tests/jobs/test_help.py",
    "tests/jobs/test_hostile.py",
    "tests/jobs/test_hostile_specs.py",
    "tests/jobs/test_life_cycle.py",
    "tests/jobs/test_list_command.py",
    "tests/jobs/test_logs",
    "tests/jobs/test_meetings.py",
    "tests/jobs/test_provider_command.py",
    "tests/jobs/test_python_executor",
    "tests/jobs/test_query_counts.py",
    "tests/jobs/test_schedule_command.py",
    "tests/jobs/test_schedules/test_cron.py",
    "tests/jobs/test_testing.py",
    "tests/migrations/test_routers.py",
    "tests/outbox/publishers",
    "tests/outbox/test_checks.py",
    "tests/outbox/test_cloud_events.py",
    "tests/outbox/test_commands",
    "tests/outbox/test_costs.py",
    "tests/outbox/test_hostile.py",
    "tests/outbox/test_life_cycle.py",
    "tests/outbox/test_meetings.py",
    "tests/outbox/test_metrics.py",
    "tests/outbox/test_pages.py",
    "tests/outbox/test_pure.py",
    "tests/outbox/test_testing.py",
    "tests/sagas/test_actions",
    "tests/sagas/test_checks.py",
    "tests/sagas/test_commands.py",
    "tests/sagas/test_costs.py",
    "tests/sagas/test_hostile.py",
    "tests/sagas/test_hostile_steps.py",
    "tests/sagas/test_life_cycle.py",
    "tests/sagas/test_meetings.py",
    "tests/sagas/test_plan.py",
    "tests/sagas/test_runner/test_load.py",
    "tests/sagas/test_runner/test_time.py",
    "tests/sagas/test_settle.py",
    "tests/sagas/test_testing.py",
    "tests/schema/test_admin",
    "tests/schema/test_browsing.py",
    "tests/schema/test_checks.py",
    "tests/schema/test_checksums.py",
    "tests/schema/test_dry_run_json.py",
    "tests/schema/test_health.py",
    "tests/schema/test_package.py",
    "tests/schema/test_reasons.py",
    "tests/schema/test_reset/test_asking.py",
    "tests/schema/test_results.py",
    "tests/schema/test_rollback_targets.py",
    "tests/schema/test_schema_history.py",
    "tests/schema/test_schema_status.py",
    "tests/schema/test_suggestions.py",
    "tests/schema/test_tables.py",
)


#: Of the others, those of processes run on the newest alone too: signals, exit codes and what a
#: command prints are the same on all. Where processes meet in the database, they are marked.
ON_EACH_SERVER = "not slow and (not process or every_server)"
#: One more than there are processors: some test is always waiting for another process or for time.
WORKERS = str((os.cpu_count() or 1) + 1)
#: What the tests of a file share is made once; tests/conftest.py decides which file begins first.
BY_FILE = ("--dist", "loadfile", "--no-loadscope-reorder")


def main() -> int:
    parser = argparse.ArgumentParser(description="Lint and test Hodei.")
    parser.add_argument("--lint", action="store_true", help="lint alone")
    parser.add_argument("--no-lint", action="store_true", help="the tests alone")
    parser.add_argument("--all", action="store_true", help="with the tests that take long")
    parser.add_argument("--coverage", action="store_true", help="hold it against its floor, too")
    options, arguments = parser.parse_known_args()
    failed = [] if options.no_lint else check()
    if not options.lint:
        failed += test(arguments, everything=options.all, coverage=options.coverage)
    print(f"\n{'Failed: ' + ', '.join(failed) if failed else 'Everything passed.'}")
    return 1 if failed else 0


#: What takes longest begins first.
LINT = (
    ("mypy", [BIN / "mypy", "--no-error-summary"]),
    ("ruff check", [BIN / "ruff", "check", "--quiet", "."]),
    ("ruff format", [BIN / "ruff", "format", "--check", "--quiet", "."]),
    ("import-linter", [BIN / "lint-imports", "--no-cache"]),
    ("missing migrations", [sys.executable, "manage.py", "makemigrations", "--check", "--dry-run"]),
)


def check() -> list[str]:
    """Run what LINT names, several at once; returns the names of those that failed."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        passed = pool.map(lambda one: step(*one), LINT)
        return [name for (name, _), ok in zip(LINT, passed, strict=True) if not ok]


def step(name: str, command: list[str | Path], **env: str) -> bool:
    """Run one command, its output shown where it failed (tests: always); True if it passed."""
    started = time.monotonic()
    shown = name.startswith("tests")
    if shown:
        print(f"\n== {name}", flush=True)
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(**env),
        stdout=None if shown else subprocess.PIPE,
        stderr=None if shown else subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode and not shown:
        print(done.stdout)
    verdict = "failed" if done.returncode else "ok"
    print(f"{name}: {verdict} ({time.monotonic() - started:.0f} s)", flush=True)
    return done.returncode == 0


def environment(**changes: str) -> dict[str, str]:
    """The environment without what would lead the tests to somebody's database, or have each of
    the processes that they start compile everything again."""
    left_out = {"DATABASE_URL", "DEBUG", "SECRET_KEY", "SAMPLE", "PORT", "PYTHONDONTWRITEBYTECODE"}
    inherited = {name: value for name, value in os.environ.items() if name not in left_out}
    # The variables of .env do not reach the tests: a variable that is set goes before it.
    return {
        **inherited,
        "DEBUG": "0",
        "SECRET_KEY": "",
        "DATABASE_URL": "",
        "HODEI_EMBEDDED_DIR": str(ROOT / ".hodei" / "test"),
        **changes,
    }


def test(arguments: list[str], *, everything: bool, coverage: bool) -> list[str]:
    """Run the suite on each server; returns the names of those that failed.

    Coverage is of the whole suite, and once is enough: with it Python takes half as long again, and
    on 3.11 twice as long.
    """
    failed = []
    pytest = [sys.executable, "-m", "pytest", "-q", "-n", WORKERS, *BY_FILE, *arguments]
    quick = [] if everything else ["-m", "not slow"]
    measured = ["--cov", "--cov-report=term:skip-covered"] if coverage else []
    name = f"tests on PostgreSQL {NEWEST}, embedded"
    with embedded_server() as folder:
        if not step(name, [*pytest, *quick, *measured], HODEI_EMBEDDED_DIR=str(folder)):
            failed.append(name)
    with systems_server() as (version, url):
        if url:
            name = f"tests on PostgreSQL {version}"
            if not (arguments or everything):
                quick = ["-m", ON_EACH_SERVER, *(f"--ignore={path}" for path in ANY_SERVER)]
            if not step(name, [*pytest, *quick], DATABASE_URL=url):
                failed.append(name)
        else:
            message = (
                "No PostgreSQL of the system: set DATABASE_URL_15 or install its binaries "
                "(Debian: apt install postgresql)."
            )
            print(message)
            if "postgresql" in os.environ.get("HODEI_REQUIRE", "").split(","):
                failed.append("tests on the system's PostgreSQL")
    return failed


@contextmanager
def embedded_server() -> Iterator[Path]:
    """The folder of the embedded server, which runs."""
    from hodei.db.embedded import binaries  # noqa: PLC0415

    with running(binaries.default()) as server:
        yield server.location.directory


@contextmanager
def systems_server() -> Iterator[tuple[str, str]]:
    """Version and URL of the system's PostgreSQL; the URL is empty where there is none."""
    url = os.environ.get("DATABASE_URL_15", "")
    if url:
        yield "of DATABASE_URL_15", url
        return
    folder = newest_binaries()
    if folder is None:
        yield "", ""
        return
    from hodei.db.embedded.binaries import Binaries  # noqa: PLC0415

    with running(Binaries(folder)) as server:
        yield folder.parent.name, server.url()


@contextmanager
def running(binaries: Binaries) -> Iterator[Server]:
    """A new server for tests, which waits for no disk and is gone afterwards.

    Processes may be killed as elsewhere and lose nothing; a crash of the machine would spoil it.
    """
    import psycopg  # noqa: PLC0415

    from hodei.db.embedded.location import locate  # noqa: PLC0415
    from hodei.db.embedded.server import Server  # noqa: PLC0415

    has_room = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= ROOM
    where = MEMORY if has_room and os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="hodei-tests-", dir=where) as folder:
        Path(folder).chmod(0o755)  # root's server runs as another user
        server = Server(locate(Path(folder) / "pg"), binaries)
        server.start()
        try:
            with psycopg.connect(server.url(), autocommit=True) as session:
                for setting in ("fsync", "full_page_writes"):
                    session.execute(f"ALTER SYSTEM SET {setting} = off")
                session.execute("SELECT pg_reload_conf()")
            yield server
        finally:
            server.stop()


def newest_binaries() -> Path | None:
    """The folder of the newest server's programs that are not the embedded version's."""
    found = {}
    for folder in Path("/usr/lib/postgresql").glob("*/bin"):
        if re.fullmatch(r"\d+", folder.parent.name) and (folder / "initdb").exists():
            found[int(folder.parent.name)] = folder
    pg_config = shutil.which("pg_config")
    if not found and pg_config:
        told = subprocess.run(
            [pg_config, "--version", "--bindir"], capture_output=True, text=True, check=False
        )
        if match := re.match(r"(?s)(.+)\nPostgreSQL (\d+)", told.stdout):
            folder = Path(match[1])
            if (folder / "initdb").exists():
                found[int(match[2])] = folder
    usable = [version for version in found if OLDEST <= version < NEWEST]
    return found[max(usable)] if usable else None


if __name__ == "__main__":
    sys.exit(main())
