"""From the SQL of the way back to what goes with it: tables, columns, values and rows.

Names are followed through the renames of the way, to the tables and columns as they are now: what
the way itself has made is not lost when it goes again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from hodei.schema.names import printable, quoted
from hodei.schema.operations import Rule
from hodei.schema.plan.actions import Action, Does
from hodei.schema.plan.reading import Name
from hodei.schema.plan.types import loses
from hodei.schema.results import MigrationKey

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from hodei.schema.rollback.statements import Undone

_TABLE = """
SELECT c.oid::bigint, n.nspname, c.relname, pg_table_is_visible(c.oid)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = to_regclass(%s) AND c.relkind IN ('r', 'p')
"""
_COLUMNS = """
SELECT a.attname, a.attnum::int, format_type(a.atttypid, a.atttypmod), a.attgenerated <> '',
       pg_get_expr(d.adbin, d.adrelid)
  FROM pg_attribute a
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
"""
_NAMES = """
SELECT c.oid::bigint, n.nspname, c.relname, pg_table_is_visible(c.oid),
       array_agg(a.attnum::int), array_agg(a.attname::text)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE c.oid = ANY(%s::oid[]) GROUP BY c.oid, n.nspname
"""


class What(StrEnum):
    """What goes."""

    TABLE = "table"
    COLUMN = "column"
    #: Values that a narrower type cuts, rounds or refuses.
    VALUES = "values"
    #: Rows that a statement deletes.
    ROWS = "rows"
    #: Rows that a rule of RefuseRows or MoveRows is about: the older schema cannot hold them.
    MISFITS = "misfits"


@dataclass(slots=True, kw_only=True)
class LiveColumn:
    """A column as it is now."""

    name: str
    number: int
    type: str
    generated: bool
    #: The expression of its default.
    default: str | None


@dataclass(eq=False, slots=True, kw_only=True)
class LiveTable:
    """A table as it is now; ``columns`` by the names that they have at this point of the way,
    None for one that the way has made."""

    oid: int
    schema: str
    name: str
    visible: bool
    columns: dict[str, LiveColumn | None]
    #: All that it has now, whatever becomes of them on the way.
    columns_of_now: tuple[LiveColumn, ...]

    @property
    def shown(self) -> str:
        return printable(self.name if self.visible else f"{self.schema}.{self.name}")

    @property
    def quoted(self) -> str:
        """For SQL; without the schema where the search path finds it."""
        return quoted(self.name) if self.visible else f"{quoted(self.schema)}.{quoted(self.name)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """One thing that goes, whether or not there is anything in it."""

    what: What
    step: MigrationKey
    table: LiveTable
    column: LiveColumn | None = None
    #: The new type of VALUES, the reason of MISFITS, how many of ROWS.
    detail: str = ""
    #: SQL: which rows MISFITS are; of a TABLE those that are moved elsewhere before it goes.
    condition: str = ""
    #: MISFITS that are moved into <table>_head_rows where the loss is allowed.
    moved: bool = False
    #: A part of a table that goes as a whole, in this step or a later one.
    within: bool = False

    @property
    def shown(self) -> str:
        column = f".{printable(self.column.name)}" if self.column else ""
        return f"{self.table.shown}{column}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """All of it, in the order of the way, and what could not be told before."""

    found: tuple[Loss, ...]
    unknown: tuple[tuple[MigrationKey, str], ...] = ()
    #: The part of ``unknown`` that no transaction could take back.
    beyond_recall: tuple[tuple[MigrationKey, str], ...] = ()


def read_losses(connection: BaseDatabaseWrapper, way: Iterable[Undone]) -> Losses:
    """Follow the way. Reads catalogs over ``connection``, and no rows."""
    reader = _Reader(connection)
    for undone in way:
        reader.read(undone)
    return reader.losses()


def read_names(
    connection: BaseDatabaseWrapper, tables: Iterable[LiveTable]
) -> dict[int, LiveTable]:
    """Those of the tables that are there, by their numbers, with the names that they have now: a
    step before may have renamed them, or their columns."""
    wanted = {table.oid: table for table in tables}
    found = {}
    with connection.cursor() as cursor:
        cursor.execute(_NAMES, [list(wanted)])
        for oid, schema, name, visible, numbers, names in cursor.fetchall():
            table = found[oid] = wanted[oid]
            table.schema, table.name, table.visible = schema, name, visible
            now = dict(zip(numbers, names, strict=True))
            for column in table.columns_of_now:
                column.name = now.get(column.number, column.name)
    return found


class _Reader:
    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        #: By the names at this point of the way; None where there is no table of now.
        self._tables: dict[Name, LiveTable | None] = {}
        self._by_oid: dict[int, LiveTable] = {}
        self._losses: list[Loss] = []
        self._unknown: dict[tuple[MigrationKey, str], bool] = {}

    def read(self, undone: Undone) -> None:
        for message in undone.unknown:
            self._note(undone, message)
        for rule in undone.refused:
            self._misfits(undone, rule, moved=False)
        for rule in undone.moved:
            self._misfits(undone, rule, moved=True)
        for analysis in undone.analyses:
            for action in analysis.actions:
                if analysis.is_known or action.table:
                    self._follow(undone, action)

    def losses(self) -> Losses:
        dropped = {loss.table.oid for loss in self._losses if loss.what is What.TABLE}
        return Losses(
            found=tuple(
                replace(
                    self._without_moved(loss),
                    within=loss.table.oid in dropped
                    and loss.what not in {What.TABLE, What.MISFITS},
                )
                for loss in self._losses
            ),
            unknown=tuple(self._unknown),
            beyond_recall=tuple(key for key, atomic in self._unknown.items() if not atomic),
        )

    def _note(self, undone: Undone, message: str) -> None:
        key = undone.step, message
        self._unknown[key] = self._unknown.get(key, True) and undone.atomic

    def _without_moved(self, loss: Loss) -> Loss:
        """A table's rows that a rule has moved elsewhere do not go with it."""
        if loss.what is not What.TABLE:
            return loss
        moved = [
            f"({other.condition})"
            for other in self._losses[: self._losses.index(loss)]
            if other.moved and other.table is loss.table
        ]
        return replace(loss, condition=" OR ".join(moved))

    def _misfits(self, undone: Undone, rule: Rule, *, moved: bool) -> None:
        name, detail, condition = rule
        table = self._table(Name(None, name))
        if table is None:
            self._note(undone, f"A rule is about table {name}, which is not there now: {detail}.")
            return
        for place, loss in enumerate(self._losses):
            if (loss.what, loss.table, loss.condition) == (What.MISFITS, table, condition):
                self._losses[place] = replace(loss, moved=loss.moved or moved)
                return
        self._losses.append(
            Loss(
                what=What.MISFITS,
                step=undone.step,
                table=table,
                detail=detail,
                condition=condition,
                moved=moved,
            )
        )

    def _follow(self, undone: Undone, action: Action) -> None:
        name = action.table
        if name is None:
            if action.does is Does.LOSE:
                self._note(undone, f"This takes along {action.detail}.")
            return
        if action.does is Does.CREATE_TABLE:
            self._tables[name] = None
            return
        table = self._table(name)
        if table is None:
            return
        match action.does:
            case Does.DROP_TABLE:
                self._tables[name] = None
                self._lose(undone, What.TABLE, table)
            case Does.RENAME_TABLE:
                self._tables[name] = None
                self._tables[Name(name.schema, action.detail)] = table
            case Does.LOSE:
                self._lose(undone, What.ROWS, table, detail=action.detail)
            case _:
                self._follow_column(undone, action, table)

    def _follow_column(self, undone: Undone, action: Action, table: LiveTable) -> None:
        name = action.column or ""
        column = table.columns.get(name)
        match action.does:
            case Does.RENAME_COLUMN:
                table.columns[action.detail] = table.columns.pop(name, None)
            case Does.ADD_COLUMN:
                table.columns[name] = None
            case Does.DROP_COLUMN if column is not None:
                table.columns[name] = None
                self._lose(undone, What.COLUMN, table, column)
            case Does.CHANGE_TYPE if column is not None and loses(column.type, action.detail):
                self._lose(undone, What.VALUES, table, column, detail=action.detail)
            case _:
                pass

    def _lose(
        self,
        undone: Undone,
        what: What,
        table: LiveTable,
        column: LiveColumn | None = None,
        detail: str = "",
    ) -> None:
        self._losses.append(
            Loss(what=what, step=undone.step, table=table, column=column, detail=detail)
        )

    def _table(self, name: Name) -> LiveTable | None:
        if name not in self._tables:
            self._tables[name] = self._read(name)
        return self._tables[name]

    def _read(self, name: Name) -> LiveTable | None:
        text = ".".join(quoted(part) for part in name if part)
        with self._connection.cursor() as cursor:
            cursor.execute(_TABLE, [text])
            row = cursor.fetchone()
            if row is None:
                return None
            oid, schema, relation, visible = row
            if oid not in self._by_oid:
                cursor.execute(_COLUMNS, [oid])
                columns = [
                    LiveColumn(
                        name=column,
                        number=number,
                        type=kind,
                        generated=generated,
                        default=expression,
                    )
                    for column, number, kind, generated, expression in cursor.fetchall()
                ]
                self._by_oid[oid] = LiveTable(
                    oid=oid,
                    schema=schema,
                    name=relation,
                    visible=visible,
                    columns={column.name: column for column in columns},
                    columns_of_now=tuple(columns),
                )
        return self._by_oid[oid]
