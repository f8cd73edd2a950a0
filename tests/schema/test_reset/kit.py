"""The command, and what is compared before and after it."""

from __future__ import annotations

import io
import os
import shlex
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.core.management import call_command
from django.db import connections

from hodei.schema import MigrationService
from hodei.schema.catalog.inspection import read_catalog
from hodei.schema.history import read_runs
from hodei.schema.replay.sessions import never_kept, private_connection

Install = Callable[..., None]

BOOKKEEPING = ("schema_migration_runs",)


@contextmanager
def session(alias: str, **options: Any) -> Iterator[psycopg.Connection[Any]]:
    """Somebody else's session."""
    settings = connections[alias].settings_dict
    with psycopg.connect(
        host=settings["HOST"],
        port=settings["PORT"],
        user=settings["USER"],
        password=settings["PASSWORD"],
        dbname=settings["NAME"],
        autocommit=True,
        **options,
    ) as connection:
        yield connection


def migrate(alias: str, *words: str) -> None:
    call_command("migrate", *words, database=alias, verbosity=0)


def execute(alias: str, sql: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql)


def rows(alias: str, sql: str) -> list[tuple[Any, ...]]:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql)
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


def name_of(alias: str) -> str:
    return str(connections[alias].settings_dict["NAME"])


def content(alias: str) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of every table but the history's."""
    tables = [
        name
        for (name,) in rows(alias, "SELECT relname FROM pg_class WHERE relkind = 'r' AND "
                                   "relnamespace = 'public'::regnamespace ORDER BY 1")
        if name not in BOOKKEEPING
    ]  # fmt: skip
    return {t: sorted(map(repr, rows(alias, f"SELECT * FROM {quoted(t)}"))) for t in tables}


def quoted(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))


def catalog(alias: str) -> Any:
    with private_connection(alias) as connection, never_kept(connection):
        return read_catalog(connection, "public")


@contextmanager
def unchanged(alias: str) -> Iterator[None]:
    """Tables, rows, and whatever else there is are the same after the block, the history apart."""
    before = catalog(alias), content(alias), identities(alias)
    yield
    assert (catalog(alias), content(alias), identities(alias)) == before


def identities(alias: str) -> list[tuple[Any, ...]]:
    """The numbers of the tables: what is dropped and built again has others."""
    return rows(
        alias,
        "SELECT oid, relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname "
        "!~ '^(schema_migration_runs|django_migrations)' ORDER BY oid",
    )


def reset(alias: str, *words: str, **options: Any) -> str:
    """The command, confirmed; returns what it printed."""
    out = io.StringIO()
    given = {"confirm": name_of(alias), "no_backup": "backup" not in options, **options}
    call_command("schema_reset", *words, database=alias, stdout=out, stderr=out, **given)
    return out.getvalue()


def outcomes(alias: str, app: str) -> list[tuple[str, str, str]]:
    """(name, direction, outcome) of an app, oldest first."""
    found = reversed(read_runs(alias, app=app))
    return [(run.name, run.direction.value, run.outcome) for run in found]


def check_valid(alias: str) -> None:
    validation = MigrationService(alias).validate()
    assert validation.is_valid, validation.findings


# What somebody else has made of ours, and how it is called in the refusal.
DEPENDENCIES = (
    "CREATE TABLE a_key (shelf bigint CONSTRAINT their_fk REFERENCES depot_shelf)",
    "Constraint their_fk on table a_key depends on table depot_shelf",
    "ALTER TABLE hauler_trip ADD CONSTRAINT trip_fk FOREIGN KEY (crate_id) REFERENCES depot_crate",
    "Constraint trip_fk on table hauler_trip depends on table depot_crate",
    "CREATE VIEW a_view AS SELECT label FROM depot_shelf",
    "View a_view depends on table depot_shelf",
    "CREATE MATERIALIZED VIEW a_copy AS SELECT label FROM depot_labels",
    "Materialized view a_copy depends on view depot_labels",
    "CREATE TRIGGER a_trigger AFTER INSERT ON hauler_trip EXECUTE FUNCTION depot_touch()",
    "Trigger a_trigger on table hauler_trip depends on function depot_touch()",
    "CREATE TABLE a_column (size depot_size)",
    "Column size of table a_column depends on type depot_size",
    "CREATE TABLE a_default (n int DEFAULT nextval('depot_ticket'))",
    "Default value for column n of table a_default depends on sequence depot_ticket",
    "CREATE TABLE an_heir () INHERITS (depot_shelf)",
    "Table an_heir depends on table depot_shelf",
    "CREATE POLICY a_policy ON hauler_trip USING (crate_id IN (SELECT id FROM depot_crate))",
    "Policy a_policy on table hauler_trip depends on table depot_crate",
    "CREATE FUNCTION a_count() RETURNS bigint RETURN (SELECT count(*) FROM depot_crate)",
    "Function a_count() depends on table depot_crate",
    "CREATE PUBLICATION a_publication FOR TABLE depot_shelf",
    "Publication a_publication depends on table depot_shelf",
)
A_VIEW = DEPENDENCIES[4]


def restore(alias: str, shown: str) -> None:
    """Run the command that the reset has printed."""
    (line,) = (line for line in shown.splitlines() if line.startswith("Restore it with: "))
    done = subprocess.run(
        line.removeprefix("Restore it with: "),
        shell=True,
        env={**os.environ, "PGPASSWORD": connections[alias].settings_dict["PASSWORD"] or ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert shlex.split(line)


def without_records(found: dict[str, Any]) -> dict[str, Any]:
    """Without django_migrations, which tells when a migration was applied."""
    return {table: lines for table, lines in found.items() if table != "django_migrations"}
