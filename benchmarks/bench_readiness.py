"""What it costs to ask whether the schema is as it should be: in a process, and as one.

Claims: the check that ``/health/ready`` and ``schema_wait`` use costs under 10 ms; as a process
``schema_status`` costs at most 1.3 times ``showmigrations``.

usage: python benchmarks/bench_readiness.py [ROUNDS]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from measuring import in_turn, report, seconds  # noqa: E402

from hodei.db.embedded.binaries import default  # noqa: E402
from hodei.db.embedded.location import locate  # noqa: E402
from hodei.db.embedded.server import Server  # noqa: E402

DATABASE = "bench_readiness"
# In a process of its own, which has nothing else to do: first look, then many, in milliseconds.
LOOKS = """
import json, statistics, time
from hodei import env
env.declare(env.process_of(["manage.py", "schema_wait"]))
import django
django.setup()
from django.db import connection
from hodei.schema.readiness import KnownMigrations

known = KnownMigrations()
connection.ensure_connection()

def look():
    start = time.perf_counter()
    assert known.check(connection).is_valid
    return (time.perf_counter() - start) * 1000

first = look()
many = [look() for _ in range(200)]
connection.close()
print(json.dumps({"first": first, "median": statistics.median(many), "worst": max(many)}))
"""


def main(rounds: int) -> None:
    server = Server(locate(ROOT / ".hodei" / "bench"), default())
    server.start()
    try:
        compare(server, rounds)
    finally:
        server.stop()


def compare(server: Server, rounds: int) -> None:
    environment = {
        **os.environ,
        "DATABASE_URL": server.url(DATABASE),
        "DJANGO_SETTINGS_MODULE": "hodei.settings",
        "PYTHONPATH": str(ROOT),
        # Bytecode is what a second run has; without it a process start is measured, mostly.
        "PYTHONDONTWRITEBYTECODE": "",
    }

    def run(*words: str | Path) -> str:
        done = subprocess.run(
            words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{words} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stdout

    psql = [server.binaries.program("psql"), "--no-psqlrc", "--quiet", "-v", "ON_ERROR_STOP=1"]
    for statement in (f"DROP DATABASE IF EXISTS {DATABASE}", f"CREATE DATABASE {DATABASE}"):
        run(*psql, "-d", server.url("postgres"), "-c", statement)
    run(sys.executable, "manage.py", "migrate", "--verbosity", "0")
    count = run(
        *psql, "-At", "-d", server.url(DATABASE), "-c", "SELECT count(*) FROM django_migrations"
    ).strip()

    def command(*words: str) -> float:
        return seconds(lambda: run(sys.executable, "manage.py", *words))

    processes = in_turn(
        {
            "showmigrations": lambda: command("showmigrations"),
            "schema_status": lambda: command("schema_status"),
            "schema_wait --timeout 0": lambda: command("schema_wait", "--timeout", "0"),
            "migrate --check": lambda: command("migrate", "--check"),
        },
        rounds,
    )
    settings = {"migrations": int(count)}
    report("status_process", processes, unit="seconds", against="showmigrations", settings=settings)
    looks = [json.loads(run(sys.executable, "-c", LOOKS)) for _ in range(rounds)]
    report(
        "readiness",
        {name: [look[name] for look in looks] for name in ("median", "first", "worst")},
        unit="milliseconds",
        against="median",
        settings={**settings, "looks": 200},
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
