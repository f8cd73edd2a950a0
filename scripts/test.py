"""Lint and test the project on the embedded PostgreSQL and on the system's.

usage: python scripts/test.py [--lint | --no-lint] [--all] [pytest arguments]

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
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
OLDEST = 15
NEWEST = 18

sys.path.insert(0, str(ROOT))


#: Tests of programs, pages, documentation and brokers: what they need of the server is the same on
#: every version, so that the newest is enough, except for ``--all``.
ANY_SERVER = (
    "tests/acceptance",
    "tests/admin",
    "tests/browser",
    "tests/docs",
    "tests/faults",
    "tests/hodei",
    "tests/jobs/test_command.py",
    "tests/jobs/test_logs.py",
    "tests/jobs/test_python_executor.py",
    "tests/jobs/test_schedule_command.py",
    "tests/outbox/publishers",
    "tests/outbox/test_checks.py",
    "tests/outbox/test_commands.py",
    "tests/outbox/test_metrics.py",
    "tests/outbox/test_pages.py",
    "tests/schema/test_admin",
    "tests/schema/test_browsing.py",
    "tests/schema/test_checks.py",
    "tests/schema/test_checksums.py",
    "tests/schema/test_health.py",
    "tests/schema/test_package.py",
    "tests/schema/test_reasons.py",
    "tests/schema/test_tables.py",
)


def main() -> int:
    parser = argparse.ArgumentParser(description="Lint and test Hodei.")
    parser.add_argument("--lint", action="store_true", help="lint alone")
    parser.add_argument("--no-lint", action="store_true", help="the tests alone")
    parser.add_argument("--all", action="store_true", help="with the tests that take long")
    options, arguments = parser.parse_known_args()
    lint = () if options.no_lint else LINT
    failed = [name for name, command in lint if not step(name, command)]
    if not options.lint:
        failed += test(arguments, everything=options.all)
    print(f"\n{'Failed: ' + ', '.join(failed) if failed else 'Everything passed.'}")
    return 1 if failed else 0


LINT = (
    ("ruff check", [BIN / "ruff", "check", "--quiet", "."]),
    ("ruff format", [BIN / "ruff", "format", "--check", "--quiet", "."]),
    ("mypy", [BIN / "mypy", "--no-error-summary"]),
    ("import-linter", [BIN / "lint-imports", "--no-cache"]),
    ("missing migrations", [sys.executable, "manage.py", "makemigrations", "--check", "--dry-run"]),
)


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
    """The environment without what would lead the tests to somebody's database."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in {"DATABASE_URL", "DEBUG", "SECRET_KEY", "SAMPLE", "PORT"}
    }
    # The variables of .env do not reach the tests: a variable that is set goes before it.
    return {
        **inherited,
        "DEBUG": "0",
        "SECRET_KEY": "",
        "DATABASE_URL": "",
        "HODEI_EMBEDDED_DIR": str(ROOT / ".hodei" / "test"),
        **changes,
    }


def test(arguments: list[str], *, everything: bool) -> list[str]:
    """Run the suite on each server; returns the names of those that failed."""
    failed = []
    pytest = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadscope", *arguments]
    if not everything:
        pytest += ["-m", "not slow"]
    # Coverage is of the whole suite, and once is enough.
    coverage = [] if arguments else ["--cov", "--cov-report=term:skip-covered"]
    name = f"tests on PostgreSQL {NEWEST}, embedded"
    if not step(name, [*pytest, *coverage]):
        failed.append(name)
    with systems_server() as (version, url):
        if url:
            name = f"tests on PostgreSQL {version}"
            left_out = () if arguments or everything else ANY_SERVER
            ignored = [f"--ignore={path}" for path in left_out]
            if not step(name, [*pytest, *ignored], DATABASE_URL=url):
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
    from hodei.db.embedded.location import locate  # noqa: PLC0415
    from hodei.db.embedded.server import Server  # noqa: PLC0415

    version = folder.parent.name
    server = Server(locate(ROOT / ".hodei" / f"test-{version}"), Binaries(folder))
    server.start()
    try:
        yield version, server.url()
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
