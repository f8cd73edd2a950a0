"""Repairs of rows in migrations: in batches that commit one by one, and keeping what they replace.

For RunPython in a migration with ``atomic = False``. A repair that was killed is run again and goes
on: its condition no longer matches what is done.
"""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

BATCH = 5_000


def walk(
    connection: BaseDatabaseWrapper,
    table: str,
    *,
    change: str,
    where: str,
    key: str = "id",
    batch: int = BATCH,
) -> int:
    """Apply ``change`` (the SET clause) to the rows of ``table`` that match ``where``.

    Walks the primary key once, ``batch`` rows at a time, each batch in a transaction of its own, so
    that no lock is held for long and the cost grows with the table and not with its square.
    Returns the number of rows changed. All but ``batch`` is SQL of the migration itself.
    """
    statement = f"""
        WITH page AS (
            SELECT {key} FROM {table}
             WHERE %(after)s::text IS NULL OR {key} > %(after)s
             ORDER BY {key} LIMIT %(batch)s
        ), changed AS (
            UPDATE {table} SET {change}
              FROM page
             WHERE {table}.{key} = page.{key} AND ({where})
            RETURNING 1
        )
        SELECT (SELECT count(*) FROM changed), (SELECT count(*) FROM page),
               (SELECT {key} FROM page ORDER BY {key} DESC LIMIT 1)
    """
    changed = 0
    after = None
    while True:
        with connection.cursor() as cursor:
            cursor.execute(statement, {"after": after, "batch": batch})
            touched, read, after = cursor.fetchone()
        changed += int(touched)
        if read < batch:
            return changed


def kept(column: str, name: str, value: str) -> str:
    """SQL for ``column`` (jsonb) with ``value`` kept under ``_repaired`` and ``name``.

    A column that holds no object is wrapped: what it held stays under ``_original``.
    """
    note = f"jsonb_build_object('{name}', {value})"
    return (
        f"CASE WHEN jsonb_typeof({column}) = 'object' "
        f"THEN {column} || jsonb_build_object('_repaired', "
        f"coalesce({column} -> '_repaired', '{{}}'::jsonb) || {note}) "
        f"ELSE jsonb_build_object('_original', {column}, '_repaired', {note}) END"
    )
