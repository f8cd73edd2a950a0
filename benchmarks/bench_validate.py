"""What a validation costs, for this project and as the number of tables grows.

Claims: ``schema_validate`` takes less than 2 s for this project, and grows linearly to 1,000
tables.

usage: python benchmarks/bench_validate.py [ROUNDS]

Below 300 tables by a replay too; above that by ``--rebuild`` and ``--expected`` alone, as the
command demands. The tables are of an app made for this, 25 to a migration, each with six columns,
two indexes, a check and a foreign key. Times are those of the whole process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from measuring import in_turn, report, seconds  # noqa: E402

from hodei.db.embedded.binaries import default  # noqa: E402
from hodei.db.embedded.location import locate  # noqa: E402
from hodei.db.embedded.server import Server  # noqa: E402

TO_A_MIGRATION = 25
SIZES = (100, 200, 300, 500, 1000)
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


def compare(server: Server, rounds: int) -> None:
    psql = [server.binaries.program("psql"), "--no-psqlrc", "--quiet", "-v", "ON_ERROR_STOP=1"]

    def run(*words: str | Path, **environment: str) -> str:
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

    def fresh(database: str) -> None:
        for statement in (f"DROP DATABASE IF EXISTS {database}", f"CREATE DATABASE {database}"):
            run(*psql, "-d", server.url("postgres"), "-c", statement)

    with tempfile.TemporaryDirectory() as made:
        cases = {}

        def project(name: str, folder: Path, settings: str) -> dict[str, str]:
            fresh(name)
            environment = {
                "DATABASE_URL": server.url(name),
                "DJANGO_SETTINGS_MODULE": settings,
                "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
            }
            run(sys.executable, "-m", "django", "migrate", "--verbosity", "0", **environment)
            return environment

        def case(environment: dict[str, str], *options: str) -> float:
            words = (sys.executable, "-m", "django", "schema_validate", "--strict", *options)
            return seconds(lambda: run(*words, **environment))

        ours = project("bench_validate_ours", ROOT, "hodei.settings")
        cases["this project, replay"] = lambda: case(ours)
        for tables in SIZES:
            folder = Path(made) / str(tables)
            write_project(folder, tables)
            environment = project(f"bench_validate_{tables}", folder, "many_settings")
            rebuild = ("--rebuild",) if tables >= 300 else ()
            snapshot = str(folder / "schema.json")
            run(
                *(sys.executable, "-m", "django", "schema_snapshot", "--output", snapshot),
                *rebuild,
                **environment,
            )
            if tables < 300:
                cases[f"{tables} tables, replay"] = lambda e=environment: case(e)
            cases[f"{tables} tables, rebuild"] = lambda e=environment: case(e, "--rebuild")
            cases[f"{tables} tables, expected"] = lambda e=environment, s=snapshot: case(
                e, "--expected", s
            )
        figures = in_turn(cases, rounds)
    shown = run(
        *(*psql, "-At", "-d", server.url("postgres"), "-c"),
        "SELECT name || '=' || setting FROM pg_settings WHERE name IN ('server_version', "
        "'fsync', 'synchronous_commit', 'shared_buffers') ORDER BY name",
    )
    report(
        "validate",
        figures,
        unit="seconds",
        against="100 tables, replay",
        settings={"tables": list(SIZES), "postgresql": shown.split()},
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
