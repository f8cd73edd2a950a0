"""Rows that do not fit an older schema, moved into archives with what depends on them."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.backends.base.schema import BaseDatabaseSchemaEditor

#: PostgreSQL's limit for names.
_NAME_BYTES = 63


def move_rows(
    schema_editor: BaseDatabaseSchemaEditor, table: str, reason: str, condition: str
) -> None:
    """Move the rows of ``table`` that match, and what depends on them, into archive tables.

    The archive of a table is made when its first row arrives: (moved_at, reason, row as JSON).
    """
    quote = schema_editor.quote_name
    going = quote(f"going_{table}"[:63])
    with schema_editor.connection.cursor() as cursor:
        # Which rows go is settled first: the condition may read rows that are about to move.
        cursor.execute(
            f"CREATE TEMPORARY TABLE {going} ON COMMIT DROP AS "
            f"SELECT ctid AS place FROM {quote(table)} WHERE {condition}"
        )
        there = f"ctid IN (SELECT place FROM {going})"
        if cursor.rowcount:
            for child, column, parent_column in _dependents(schema_editor, table):
                parents = f"SELECT {quote(parent_column)} FROM {quote(table)} WHERE {there}"
                move_rows(
                    schema_editor, child, f"{reason}, by {table}", f"{quote(column)} IN ({parents})"
                )
            archive = quote(archive_of(table))
            cursor.execute(
                f"CREATE TABLE IF NOT EXISTS {archive} (moved_at timestamptz NOT NULL "
                "DEFAULT now(), reason text NOT NULL, row_data jsonb NOT NULL)"
            )
            cursor.execute(
                f"WITH gone AS (DELETE FROM {quote(table)} WHERE {there} RETURNING *) "
                f"INSERT INTO {archive} (reason, row_data) SELECT %s, to_jsonb(gone) FROM gone",
                [reason],
            )
        cursor.execute(f"DROP TABLE {going}")


def archive_of(table: str) -> str:
    """The table that ``move_rows`` moves rows of this one into: its name, as the server cuts it."""
    name = f"{table}_head_rows".encode()[:_NAME_BYTES]
    return name.decode(errors="ignore")


def _dependents(
    schema_editor: BaseDatabaseSchemaEditor, table: str
) -> Iterator[tuple[str, str, str]]:
    """Yield (table, column, referenced column) of one-column keys that would stop or lose rows."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT child.relname, own.attname, referenced.attname
              FROM pg_constraint key
              JOIN pg_class child ON child.oid = key.conrelid
              JOIN pg_attribute own ON own.attrelid = key.conrelid AND own.attnum = key.conkey[1]
              JOIN pg_attribute referenced
                ON referenced.attrelid = key.confrelid AND referenced.attnum = key.confkey[1]
             WHERE key.contype = 'f' AND key.confdeltype <> 'n' AND cardinality(key.conkey) = 1
               AND key.confrelid = to_regclass(%s) AND key.conrelid <> key.confrelid
             ORDER BY child.relname
            """,
            [schema_editor.quote_name(table)],
        )
        yield from cursor.fetchall()
