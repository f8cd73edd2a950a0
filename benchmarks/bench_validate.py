"""What a validation costs, for this project and as the number of tables grows.

Claims: ``schema_validate`` takes less than 2 s for this project, and grows linearly to 1,000
tables.

usage: python benchmarks/bench_validate.py [ROUNDS]

Up to 299 tables by a replay too; above that by ``--rebuild`` and ``--expected`` alone, as the
command demands. The tables are of an app made for this, 25 to a migration, each with six columns,
two indexes, a check and a foreign key. Times are those of the whole process, on the clock and
(``validate_processor``) on a processor, beside ``showmigrations`` of this project in the same run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from measuring import in_turn, processor_seconds, report  # noqa: E402

from hodei.db.embedded.binaries import default  # noqa: E402
from hodei.db.embedded.location import locate  # noqa: E402
from hodei.db.embedded.server import Server  # noqa: E402

TO_A_MIGRATION = 25
SIZES = (100, 200, 299, 500, 1000)
MOST_BY_REPLAY = 299
MIGRATION = """
from django.db import migrations, models


def table(number):
    return migrations.CreateModel(
        f"T{number}",
        [
            ("id", models.BigAutoField(primary_key=True)),
            ("name", models.CharField(max_length=100, unique=True)),
            ("state", models.CharField(max_length=20, db_index=True)),
            ("amount", models.IntegerField(default=0)),
            ("at", models.DateTimeField(null=True)),
            ("parent", models.ForeignKey("self", models.CASCADE, null=True)),
        ],
        options={
            "constraints": [
                models.CheckConstraint(
                    condition=models.Q(amount__gte=0), name=f"many_t{number}_amount"
                )
            ]
        },
    )


class Migration(migrations.Migration):
    dependencies = DEPENDENCIES
    operations = [table(number) for number in range(FIRST, LAST)]
"""
SETTINGS = """
from hodei.settings import DATABASES
INSTALLED_APPS = ["django.contrib.contenttypes", "hodei.schema", "many"]
SECRET_KEY = "for a benchmark"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
"""


def main(rounds: int) -> None:
    server = Server(locate(ROOT / ".hodei" / "bench_validate"), default())
    server.start()
    try:
        compare(server, rounds)
    finally:
        server.stop()


def write_project(folder: Path, tables: int) -> None:
    """A project with one app of so many tables."""
    migrations = folder / "many" / "migrations"
    migrations.mkdir(parents=True)
    for package in (folder / "many", migrations):
        (package / "__init__.py").write_text("")
    (folder / "many_settings.py").write_text(SETTINGS)
    names = []
    for first in range(0, tables, TO_A_MIGRATION):
        text = MIGRATION.replace("DEPENDENCIES", repr([("many", names[-1])] if names else []))
        text = text.replace("FIRST", str(first))
        text = text.replace("LAST", str(min(first + TO_A_MIGRATION, tables)))
        names.append(f"{len(names) + 1:04}_tables")
        (migrations / f"{names[-1]}.py").write_text(text)


VALIDATE = ("schema_validate", "--strict")


class Bench:
    """The databases on one server, and the commands that are measured on them."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._psql = (
            *(server.binaries.program("psql"), "--no-psqlrc", "--quiet"),
            *("-v", "ON_ERROR_STOP=1"),
        )
        #: What to measure, by name; seconds on a processor are noted as they are measured.
        self.cases: dict[str, Callable[[], float]] = {}
        self.processor: dict[str, list[float]] = {}

    def run(self, *words: str | Path, **environment: str) -> str:
        done = subprocess.run(
            words,
            cwd=ROOT,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "", **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{words} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stdout

    def sql(self, statement: str, *options: str) -> str:
        return self.run(*self._psql, *options, "-d", self._server.url("postgres"), "-c", statement)

    def project(self, name: str, folder: Path, settings: str) -> dict[str, str]:
        """A database with everything migrated; returns the environment of its commands."""
        for statement in (f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name}"):
            self.sql(statement)
        environment = {
            "DATABASE_URL": self._server.url(name),
            "DJANGO_SETTINGS_MODULE": settings,
            "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
        }
        self.django("migrate", "--verbosity", "0", **environment)
        return environment

    def django(self, *words: str, **environment: str) -> None:
        self.run(sys.executable, "-m", "django", *words, **environment)

    def case(self, name: str, environment: dict[str, str], *words: str) -> None:
        spent_by = self.processor.setdefault(name, [])

        def measured() -> float:
            clock, spent = processor_seconds(lambda: self.django(*words, **environment))
            spent_by.append(spent)
            return clock

        self.cases[name] = measured

    def cases_of(self, tables: int, folder: Path) -> None:
        write_project(folder, tables)
        environment = self.project(f"bench_validate_{tables}", folder, "many_settings")
        by_replay = tables <= MOST_BY_REPLAY
        snapshot = str(folder / "schema.json")
        how = () if by_replay else ("--rebuild",)
        self.django("schema_snapshot", "--output", snapshot, *how, **environment)
        if by_replay:
            self.case(f"{tables} tables, replay", environment, *VALIDATE)
        self.case(f"{tables} tables, rebuild", environment, *VALIDATE, "--rebuild")
        self.case(f"{tables} tables, expected", environment, *VALIDATE, "--expected", snapshot)


def compare(server: Server, rounds: int) -> None:
    bench = Bench(server)
    ours = bench.project("bench_validate_ours", ROOT, "hodei.settings")
    bench.case("this project, showmigrations", ours, "showmigrations")
    bench.case("this project, replay", ours, *VALIDATE)
    bench.case("this project, rebuild", ours, *VALIDATE, "--rebuild")
    with tempfile.TemporaryDirectory() as made:
        for tables in SIZES:
            bench.cases_of(tables, Path(made) / str(tables))
        figures = in_turn(bench.cases, rounds)
    shown = bench.sql(
        "SELECT name || '=' || setting FROM pg_settings WHERE name IN ('server_version', "
        "'fsync', 'synchronous_commit', 'shared_buffers') ORDER BY name",
        "-At",
    )
    for name, found in (("validate", figures), ("validate_processor", bench.processor)):
        report(
            name,
            found,
            unit="seconds",
            against="this project, showmigrations",
            settings={"tables": list(SIZES), "postgresql": shown.split()},
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
