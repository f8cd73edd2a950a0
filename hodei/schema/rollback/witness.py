"""What really went, seen before it is committed: whatever Python code or hidden SQL has done.

A preview is read from SQL, and there are ways to lose something that no SQL shows beforehand.
Inside the transaction the catalog and the server's own counters tell: tables and columns by their
numbers, which a rename does not change, and rows that were deleted. TRUNCATE counts nothing, and
puts another file in the place of the table's; so does a rewrite, which the rows survive.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from django.db import Error

from hodei.schema.history import TABLE as HISTORY
from hodei.schema.rollback.guards import Refused
from hodei.schema.rollback.losses import Losses, What

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

_OURS = (HISTORY, "django_migrations")

_TABLES = """
SELECT c.oid::bigint, c.oid::regclass::text,
       CASE WHEN c.relispartition
            THEN ARRAY(SELECT relid::oid::bigint FROM pg_partition_ancestors(c.oid))
            ELSE ARRAY[c.oid::bigint] END,
       coalesce(pg_stat_get_xact_tuples_deleted(c.oid), 0), c.relname::text,
       coalesce(pg_relation_filenode(c.oid), 0)::bigint,
       coalesce(pg_stat_get_xact_tuples_inserted(c.oid), 0)
  FROM pg_class c
 WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND c.relnamespace NOT IN
       (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_' OR nspname = 'information_schema')
"""
_COLUMNS = """
SELECT a.attrelid::bigint, a.attname::text, a.attnum::int FROM pg_attribute a
 WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attrelid = ANY(%s::oid[])
"""
_BRIEFLY = "SET LOCAL lock_timeout = '100ms'; SET LOCAL statement_timeout = '2s'"
#: So many tables are asked in one statement.
_AT_ONCE = 50


class LostUnseen(Refused):
    """Something went that nobody could see beforehand. It was taken back."""


class _Table(NamedTuple):
    shown: str
    #: Itself, and what it is a partition of.
    family: tuple[int, ...]
    deleted: int
    name: str
    #: The number of its file; 0 for a partitioned one, which has none.
    file: int
    inserted: int


class Witness:
    """Made inside the transaction, before anything is done in it."""

    def __init__(self, connection: BaseDatabaseWrapper, foreseen: Losses) -> None:
        self._connection = connection
        self._foreseen = foreseen
        self._tables = self._read_tables()
        self._columns = self._read_columns(list(self._tables))
        self._filled = set(self._read_filled())

    def testify(self) -> None:
        """Raise LostUnseen if anything went that was not foreseen."""
        tables = self._read_tables()
        columns = self._read_columns(list(tables))
        told = [
            *self._gone_tables(tables),
            *self._gone_columns(tables, columns),
            *self._emptied(tables),
        ]
        for oid, table in tables.items():
            before = self._tables.get(oid)
            number = table.deleted - (before.deleted if before else 0)
            if before and number > 0 and table.name not in _OURS:
                told.append(f"{number:,} row{'' if number == 1 else 's'} of {before.shown}")
        if told:
            raise LostUnseen(
                f"It would have lost what could not be seen before: {'; '.join(told)}. Its "
                "transaction was rolled back. Allow it with --allow-data-loss; --backup FILE keeps "
                "a copy of what is foreseen."
            )

    def _gone_tables(self, now: dict[int, _Table]) -> list[str]:
        foreseen = {loss.table.oid for loss in self._foreseen.found if loss.what is What.TABLE}
        return [
            f"table {table.shown}"
            for oid, table in self._tables.items()
            if oid not in now and foreseen.isdisjoint(table.family)
        ]

    def _gone_columns(
        self, now: dict[int, _Table], columns: dict[tuple[int, int], str]
    ) -> list[str]:
        foreseen: set[tuple[int, int | str]] = set()
        for loss in self._foreseen.found:
            if loss.what is What.COLUMN and loss.column:
                # By its number; in a partition the same column may have another one.
                foreseen.add((loss.table.oid, loss.column.number))
                foreseen.add((loss.table.oid, loss.column.name))
        return [
            f"column {self._tables[oid].shown}.{name}"
            for (oid, number), name in self._columns.items()
            if oid in now
            and (oid, number) not in columns
            and (oid, number) not in foreseen
            and foreseen.isdisjoint((one, name) for one in self._tables[oid].family)
        ]

    def _emptied(self, now: dict[int, _Table]) -> Iterator[str]:
        for oid, table in now.items():
            before = self._tables.get(oid)
            if before is None or before.file == table.file or oid not in self._filled:
                continue
            with self._connection.cursor() as cursor:
                cursor.execute(f"SELECT count(*) FROM ONLY {table.shown}")
                (rows,) = cursor.fetchone()
            # TRUNCATE takes back what was counted before it; a rewrite counts nothing.
            written = table.inserted - before.inserted - (table.deleted - before.deleted)
            if rows == written:
                yield f"all rows of {before.shown}"

    def _read_filled(self) -> Iterator[int]:
        """The tables that have a row, and those of which it cannot be said."""
        own = [(oid, table.shown) for oid, table in self._tables.items() if table.file]
        for start in range(0, len(own), _AT_ONCE):
            yield from self._filled_of(own[start : start + _AT_ONCE])

    def _filled_of(self, part: Sequence[tuple[int, str]]) -> list[int]:
        asked = " UNION ALL ".join(
            f"SELECT {oid}::bigint WHERE EXISTS (SELECT FROM ONLY {shown})" for oid, shown in part
        )
        savepoint = str(self._connection.savepoint())
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(_BRIEFLY)
                cursor.execute(asked)
                return [oid for (oid,) in cursor.fetchall()]
        except Error:
            return [oid for oid, _ in part]
        finally:
            # Its locks on the tables, and its limits, go with it.
            self._connection.savepoint_rollback(savepoint)

    def _read_tables(self) -> dict[int, _Table]:
        with self._connection.cursor() as cursor:
            cursor.execute(_TABLES)
            return {
                oid: _Table(shown, tuple(family), *rest)
                for oid, shown, family, *rest in cursor.fetchall()
            }

    def _read_columns(self, tables: list[int]) -> dict[tuple[int, int], str]:
        with self._connection.cursor() as cursor:
            cursor.execute(_COLUMNS, [tables])
            return {(oid, number): name for oid, name, number in cursor.fetchall()}
