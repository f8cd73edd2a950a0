"""The command, and what it leaves behind."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connections

from hodei.schema.adoption import service
from hodei.schema.adoption.survey import survey
from hodei.schema.run.start import migration_run

Install = Callable[..., None]

CASCADE = """
ALTER TABLE fences DROP CONSTRAINT fences_plot_id_fkey,
    ADD FOREIGN KEY (plot_id) REFERENCES plots (id) ON DELETE CASCADE
"""

#: Why a database cannot be adopted, and what makes it so.
REASONS = {
    "it lacks name (character varying(20))": "ALTER TABLE plots DROP COLUMN name",
    "its size is bigint and not integer": "ALTER TABLE plots ALTER size TYPE bigint",
    "its name is text and not character varying": "ALTER TABLE plots ALTER name TYPE text",
    'its name has the collation "C"': """
        ALTER TABLE plots ALTER name TYPE varchar(9) COLLATE "C"
    """,
    "it demands a value for owner (integer)": """
        ALTER TABLE plots ADD owner int; UPDATE plots SET owner = 1;
        ALTER TABLE plots ALTER owner SET NOT NULL
    """,
    "it has acres already": "ALTER TABLE plots ADD acres int",
    "its row-level security is on": "ALTER TABLE plots ENABLE ROW LEVEL SECURITY",
    "it is a view and not a table": """
        ALTER TABLE fences RENAME TO other; CREATE VIEW fences AS SELECT 1 AS id
    """,
    "it is a partitioned table and not a table": """
        ALTER TABLE fences RENAME TO other;
        CREATE TABLE fences (id bigint, plot_id bigint NOT NULL, length int NOT NULL)
            PARTITION BY LIST (id)
    """,
    "Table barns is there already": "CREATE TABLE barns (id int)",
    "the name plots_size_idx is taken in this schema, on other": """
        DROP INDEX plots_size_idx; CREATE TABLE other (x int);
        CREATE INDEX plots_size_idx ON other (x)
    """,
    "the name fences_pkey is taken in this schema, on sequence fences_pkey": """
        DROP TABLE fences; CREATE SEQUENCE fences_pkey
    """,
    "5 rows of plots break plots_kind_check and what later migrations make of it": """
        ALTER TABLE plots DROP CONSTRAINT plots_kind_check; UPDATE plots SET kind = 'SEA'
    """,
    "2 rows of plots have the same name as another one": """
        ALTER TABLE plots DROP CONSTRAINT plots_name_key;
        UPDATE plots SET name = 'one' WHERE id < 3
    """,
    "1 row of plots have no name": """
        ALTER TABLE plots ALTER name DROP NOT NULL; UPDATE plots SET name = NULL WHERE id = 1
    """,
    "1 row of fences point at no row of plots (plot_id)": """
        ALTER TABLE fences DROP CONSTRAINT fences_plot_id_fkey;
        UPDATE fences SET plot_id = 99 WHERE id = 1
    """,
    # A key that stands and was never held against old rows.
    "1 row of fences point at no row": """
        ALTER TABLE fences DROP CONSTRAINT fences_plot_id_fkey;
        UPDATE fences SET plot_id = 99 WHERE id = 1;
        ALTER TABLE fences ADD FOREIGN KEY (plot_id) REFERENCES plots (id)
            DEFERRABLE INITIALLY DEFERRED NOT VALID
    """,
}


def execute(alias: str, sql: str) -> list[tuple[Any, ...]]:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else []


def adopt(alias: str, **options: Any) -> tuple[int, str]:
    """The exit code, and everything it said, on one line."""
    out = io.StringIO()
    options.setdefault("interactive", False)
    try:
        call_command("schema_adopt", database=alias, stdout=out, stderr=out, **options)
    except SystemExit as ended:
        return int(str(ended.code)), told(out)
    except CommandError as error:
        return error.returncode, f"{told(out)} {error}"
    return 0, told(out)


def adopt_the_baselines(alias: str) -> None:
    """Up to and with the one transaction: no migration follows, and nothing is validated."""
    with migration_run(alias, command="test") as run:
        found = survey(alias)
        service.adopt_baselines(alias, run, found, found.plan, retries=0)


def told(out: io.StringIO) -> str:
    return " ".join(out.getvalue().replace("\n--", "\n").split())


def traces(alias: str) -> list[tuple[Any, ...]]:
    """Everything that somebody could notice: tables, columns, constraints, indexes and rows."""
    return execute(
        alias,
        """
        SELECT table_name::text, column_name::text, data_type || is_nullable, column_default
          FROM information_schema.columns WHERE table_schema NOT LIKE 'pg\\_%'
           AND table_schema <> 'information_schema'
        UNION ALL SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), ''
          FROM pg_constraint WHERE contype <> 'n' AND connamespace = 'public'::regnamespace
        UNION ALL SELECT tablename, indexname, indexdef, '' FROM pg_indexes
         WHERE schemaname = 'public'
        ORDER BY 1, 2, 3, 4
        """,
    )


def recorded(alias: str) -> list[str]:
    return [
        name
        for (name,) in execute(
            alias, "SELECT app || '.' || name FROM django_migrations ORDER BY id"
        )
    ]
