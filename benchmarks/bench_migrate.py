"""What a migration from nothing costs: ours, Django's own, the same schema as SQL, a process.

Claim: ``migrate`` costs at most 1.1 times Django's own command on the same migrations.

usage: python benchmarks/bench_migrate.py [ROUNDS]

"Django's own" is the stock command class, run on the same migrations in a process of its own. The
plain SQL is a dump of the result, replayed by psql in one transaction. ``migrate_processor`` has
the seconds that the commands spend on a processor: the server's work is not in them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from measuring import in_turn, processor_seconds, report, seconds  # noqa: E402

from hodei.db.embedded.binaries import default  # noqa: E402
from hodei.db.embedded.location import locate  # noqa: E402
from hodei.db.embedded.server import Server  # noqa: E402

DATABASE = "bench_migrate"
STOCK = (
    "import sys; from hodei import env; env.declare(env.process_of(sys.argv)); import django; "
    "django.setup(); from django.core.management.commands.migrate import Command; "
    "Command().run_from_argv(sys.argv)"
)


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

    def fresh() -> None:
        for statement in (f"DROP DATABASE IF EXISTS {DATABASE}", f"CREATE DATABASE {DATABASE}"):
            run(*psql, "-d", server.url("postgres"), "-c", statement)

    with tempfile.TemporaryDirectory() as folder:
        dump = Path(folder) / "schema.sql"
        fresh()
        run(sys.executable, "manage.py", "migrate", "--verbosity", "0")
        dump.write_text(run(server.binaries.program("pg_dump"), "-d", server.url(DATABASE)))
        count = run(
            *psql, "-At", "-d", server.url(DATABASE), "-c", "SELECT count(*) FROM django_migrations"
        ).strip()

        processor: dict[str, list[float]] = {"migrate": [], "Django's own": []}

        def command(name: str, *program: str) -> float:
            fresh()
            clock, spent = processor_seconds(
                lambda: run(sys.executable, *program, "migrate", "--verbosity", "0")
            )
            processor[name].append(spent)
            return clock

        def plain() -> float:
            fresh()
            return seconds(lambda: run(*psql, "-1", "-d", server.url(DATABASE), "-f", dump))

        def start() -> float:
            return seconds(lambda: run(sys.executable, "manage.py", "version"))

        figures = in_turn(
            {
                "migrate": lambda: command("migrate", "manage.py"),
                "Django's own": lambda: command("Django's own", "-c", STOCK),
                "plain SQL": plain,
                "process start": start,
            },
            rounds,
        )
        shown = run(
            *(*psql, "-At", "-d", server.url("postgres"), "-c"),
            "SELECT name || '=' || setting FROM pg_settings WHERE name IN ('server_version', "
            "'fsync', 'synchronous_commit', 'shared_buffers') ORDER BY name",
        )
    for name, found in (("migrate", figures), ("migrate_processor", processor)):
        report(
            name,
            found,
            unit="seconds",
            against="Django's own",
            settings={"migrations": int(count), "postgresql": shown.split()},
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
