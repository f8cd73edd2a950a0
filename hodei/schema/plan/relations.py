"""What the live database knows of the tables a plan is about, and what the plan makes of them.

Read by need, one table at a time, and carried on: a table that the plan creates is new, a check
that it validates is a proof for the NOT NULL that follows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.db import Error

from hodei.schema.plan.actions import Action, Does, Lock, Reach
from hodei.schema.plan.reading import Name
from hodei.schema.plan.session import contained

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

# A partitioned table has its rows in its partitions. reltuples is -1 where nothing was analysed.
_TABLE = """
    SELECT c.oid, n.nspname, c.relname, c.relkind, part.analysed, part.tuples
      FROM pg_class c
      JOIN pg_namespace n ON n.oid = c.relnamespace
      CROSS JOIN LATERAL (
          SELECT bool_or(leaf.reltuples >= 0) AS analysed,
                 sum(greatest(leaf.reltuples, 0)) AS tuples
            FROM pg_class leaf
           WHERE leaf.oid = c.oid AND c.relkind <> 'p'
              OR leaf.relkind <> 'p' AND c.relkind = 'p'
                 AND leaf.oid IN (SELECT relid FROM pg_partition_tree(c.oid))
      ) part
     WHERE c.oid = to_regclass(%s)
"""
_SIZE = """
    SELECT coalesce(sum(pg_total_relation_size(found.oid)), 0)::bigint
      FROM (SELECT %s::oid AS oid UNION SELECT relid FROM pg_partition_tree(%s)) found
"""
_COLUMNS = """
    SELECT attname, format_type(atttypid, atttypmod)
      FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped
"""
_CONSTRAINTS = """
    SELECT con.conname, con.contype::text, con.convalidated, pg_get_constraintdef(con.oid),
           ARRAY(SELECT att.attname::text FROM pg_attribute att
                  WHERE att.attrelid = con.conrelid AND att.attnum = ANY (con.conkey)),
           n.nspname, target.relname
      FROM pg_constraint con
      LEFT JOIN pg_class target ON target.oid = con.confrelid
      LEFT JOIN pg_namespace n ON n.oid = target.relnamespace
     WHERE con.conrelid = %s
"""
_REFERRERS = """
    SELECT n.nspname, c.relname,
           ARRAY(SELECT att.attname::text FROM pg_attribute att
                  WHERE att.attrelid = con.confrelid AND att.attnum = ANY (con.confkey))
      FROM pg_constraint con
      JOIN pg_class c ON c.oid = con.conrelid
      JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE con.contype = 'f' AND con.confrelid = %s AND con.conrelid <> con.confrelid
"""
_TABLE_OF_INDEX = """
    SELECT n.nspname, c.relname
      FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
      JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE i.indexrelid = to_regclass(%s)
"""


@dataclass(kw_only=True)
class ForeignKey:
    """A foreign key, seen from one of its two tables."""

    #: Of the table that it is kept under.
    columns: frozenset[str]
    #: The other table.
    target: Name


@dataclass(kw_only=True)
class Check:
    """A check, as far as it says that a column is not null."""

    column: str | None
    is_valid: bool


@dataclass(kw_only=True)
class Table:
    """One table as it is before the statement at hand."""

    name: str
    is_new: bool = False
    #: The planner's estimate; None where nobody has counted yet.
    rows: int | None = None
    #: With indexes and TOAST; None where it cannot be read now.
    size_bytes: int | None = None
    #: Name to type.
    columns: dict[str, str] = field(default_factory=dict)
    checks: dict[str, Check] = field(default_factory=dict)
    foreign_keys: dict[str, ForeignKey] = field(default_factory=dict)
    #: Foreign keys of other tables that refer to it.
    referrers: list[ForeignKey] = field(default_factory=list)

    def proves_not_null(self, column: str | None) -> bool:
        """Whether a validated check spares SET NOT NULL its scan."""
        return any(check.is_valid and check.column == column for check in self.checks.values())


class Relations:
    """The tables by name. Reads through ``connection``, which nothing else uses meanwhile."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self._tables: dict[str, Table | None] = {}
        self._indexes: dict[str, Name] = {}

    def table(self, name: Name) -> Table | None:
        """The table, or None where there is none of that name (yet, or any more)."""
        key = self._key(name)
        if key not in self._tables:
            self._tables[key] = self._read(name)
        return self._tables[key]

    def reached(self, lock: Lock) -> list[Name]:
        """The relations that a lock is about."""
        if lock.reach is Reach.ITSELF:
            return [lock.relation]
        if lock.reach is Reach.TABLE_OF_INDEX:
            return self._table_of_index(lock.relation)
        table = self.table(lock.relation)
        if table is None:
            return []
        if lock.reach is Reach.TARGET_OF_CONSTRAINT:
            key = table.foreign_keys.get(lock.part)
            return [key.target] if key else []
        to_others = lock.reach in {Reach.TARGETS_OF_COLUMN, Reach.TARGETS_OF_TABLE}
        keys = list(table.foreign_keys.values()) if to_others else table.referrers
        if lock.reach in {Reach.TARGETS_OF_COLUMN, Reach.REFERRERS_TO_COLUMN}:
            keys = [key for key in keys if lock.part in key.columns]
        return [key.target for key in keys]

    def apply(self, action: Action) -> None:
        """Go on as after this action."""
        if action.does is Does.DROP_INDEX:
            self._indexes.pop(action.detail, None)
            return
        if action.table is None:
            return
        if action.does is Does.CREATE_TABLE:
            self._tables[self._key(action.table)] = Table(name=str(action.table), is_new=True)
            return
        if action.does is Does.BUILD_INDEX:
            self._indexes[action.detail] = action.table
            return
        table = self.table(action.table)
        if table is not None:
            self._alter(table, action)

    def _alter(self, table: Table, action: Action) -> None:
        column = action.column or ""
        match action.does:
            case Does.DROP_TABLE | Does.RENAME_TABLE:
                self._move(table, action)
            case Does.RENAME_COLUMN if column in table.columns:
                table.columns[action.detail] = table.columns.pop(column)
            case Does.ADD_COLUMN | Does.CHANGE_TYPE:
                table.columns[column] = action.detail
            case Does.DROP_COLUMN:
                table.columns.pop(column, None)
            case Does.ADD_FOREIGN_KEY if action.target is not None:
                table.foreign_keys[action.detail] = ForeignKey(
                    columns=frozenset({column} - {""}), target=action.target
                )
            case _:
                _change_checks(table, action)

    def _move(self, table: Table, action: Action) -> None:
        self._tables[self._key(action.table)] = None
        if action.does is Does.RENAME_TABLE and action.table is not None:
            table.name = action.detail
            self._tables[self._key(Name(action.table.schema, action.detail))] = table

    def _key(self, name: Name | None) -> str:
        if name is None:
            return ""
        quote = self._connection.ops.quote_name
        return f"{quote(name.schema)}.{quote(name.name)}" if name.schema else quote(name.name)

    def _rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return list(cursor.fetchall())

    def _read(self, name: Name) -> Table | None:
        found = self._rows(_TABLE, self._key(name))
        if not found:
            return None
        ((oid, schema, relation, _kind, analysed, tuples),) = found
        table = Table(
            name=relation if schema == "public" else f"{schema}.{relation}",
            rows=int(tuples) if analysed else None,
            size_bytes=self._size(oid),
            columns=dict(self._rows(_COLUMNS, oid)),
            referrers=[
                ForeignKey(columns=frozenset(columns), target=Name(schema_name, referrer))
                for schema_name, referrer, columns in self._rows(_REFERRERS, oid)
            ],
        )
        for con, kind, is_valid, definition, columns, target_schema, target in self._rows(
            _CONSTRAINTS, oid
        ):
            if kind == "f":
                table.foreign_keys[con] = ForeignKey(
                    columns=frozenset(columns), target=Name(target_schema, target)
                )
            elif kind in {"c", "n"}:
                proof = kind == "n" or (len(columns) == 1 and _says_not_null(definition))
                table.checks[con] = Check(column=columns[0] if proof else None, is_valid=is_valid)
        return table

    def _size(self, oid: int) -> int | None:
        try:
            with contained(self._connection):
                ((size,),) = self._rows(_SIZE, oid, oid)
        except Error:
            # Somebody holds an ACCESS EXCLUSIVE lock on it, behind which this would wait.
            return None
        return int(size)

    def _table_of_index(self, index: Name) -> list[Name]:
        if index.name in self._indexes:
            return [self._indexes[index.name]]
        return [Name(*row) for row in self._rows(_TABLE_OF_INDEX, self._key(index))]


def _change_checks(table: Table, action: Action) -> None:
    match action.does:
        case Does.ADD_CHECK | Does.ADD_CHECK_NOT_VALID:
            is_valid = action.does is Does.ADD_CHECK
            table.checks[action.detail] = Check(column=action.column, is_valid=is_valid)
        case Does.VALIDATE if action.detail in table.checks:
            table.checks[action.detail].is_valid = True
        case Does.DROP_CONSTRAINT:
            table.checks.pop(action.detail, None)
            table.foreign_keys.pop(action.detail, None)
        case _:
            pass


def _says_not_null(definition: str) -> bool:
    words = definition.replace("(", " ").replace(")", " ").split()
    return words[0] == "CHECK" and words[2:5] == ["IS", "NOT", "NULL"] and len(words) <= 7
