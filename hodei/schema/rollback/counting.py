"""How much goes: rows of tables, values of columns, rows that a rule is about.

Counted, not estimated: an estimate may say zero where there are some. Each table is read once, in a
savepoint that is rolled back, so that nothing stays locked behind a count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import Error

from hodei.schema.names import quoted
from hodei.schema.rollback.losses import LiveTable, Loss, What
from hodei.schema.run.failures import sqlstate_of

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

#: A default that is the same for every row, and can be asked for without side effects.
_CONSTANT = re.compile(r"(?:'(?:[^']|'')*'|-?[\d.]+|true|false|NULL)(?:::[\w\s()\[\]\",.]+)?")
_TOOK_TOO_LONG = {"57014": "counting took too long", "55P03": "somebody holds a lock on it"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """A loss, and how much it is."""

    loss: Loss
    #: Of the table; None where it could not be told. An estimate where there is a ``problem``.
    rows: int | None
    #: How many rows have something there that goes: of a column those that are not NULL.
    affected: int | None
    #: Of these, those that are lost: without what is moved elsewhere, is only the default of the
    #: column, or is computed from others. None where it could not be counted.
    lost: int | None
    #: Why it could not be counted.
    problem: str | None = None

    @property
    def at_stake(self) -> bool:
        """Whether rows or values may be lost; what could not be counted may be any number."""
        return self.lost is None or self.lost > 0


def count(connection: BaseDatabaseWrapper, losses: Iterable[Loss]) -> list[Counted]:
    """Count each, in the caller's transaction on ``connection``; in the order given."""
    wanted = list(losses)
    found: dict[int, Counted] = {}
    for table in {loss.table.oid: loss.table for loss in wanted}.values():
        together = [loss for loss in wanted if loss.table is table and _is_simple(loss)]
        alone = [[loss] for loss in wanted if loss.table is table and not _is_simple(loss)]
        for group in ([together] if together else []) + alone:
            for counted in _count(connection, table, group):
                found[id(counted.loss)] = counted
    return [found[id(loss)] for loss in wanted]


def _is_simple(loss: Loss) -> bool:
    """Whether counting it cannot fail: no SQL of a migration is in it."""
    return loss.what in {What.COLUMN, What.ROWS} or (loss.what is What.TABLE and not loss.condition)


def _count(
    connection: BaseDatabaseWrapper, table: LiveTable, losses: Sequence[Loss]
) -> list[Counted]:
    filters = [text for loss in losses for text in _filters(loss)]
    counts = ", ".join(f"count(*) FILTER (WHERE {text})" for text in filters)
    savepoint = str(connection.savepoint())
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*), {counts} FROM {table.quoted}")
            rows, *numbers = cursor.fetchone()
    except Error as error:
        connection.savepoint_rollback(savepoint)
        return _uncounted(connection, table, losses, error)
    # Its lock on the table goes with it.
    connection.savepoint_rollback(savepoint)
    return [
        Counted(loss=loss, rows=rows, affected=affected, lost=lost)
        for loss, affected, lost in zip(losses, numbers[::2], numbers[1::2], strict=True)
    ]


def _filters(loss: Loss) -> tuple[str, str]:
    """SQL: which rows have something that goes, and which of them lose something."""
    if loss.what is What.MISFITS:
        return loss.condition, loss.condition
    if loss.column is None:
        return "true", f"({loss.condition}) IS NOT TRUE" if loss.condition else "true"
    name, column = quoted(loss.column.name), loss.column
    present = f"{name} IS NOT NULL"
    lost = present
    if loss.what is What.VALUES:
        back = f"{name}::{loss.detail}::{column.type}::text"
        present = lost = f"{present} AND {back} IS DISTINCT FROM {name}::text"
    elif column.generated:
        lost = "false"
    elif _CONSTANT.fullmatch(column.default or ""):
        lost = f"{present} AND {name}::text IS DISTINCT FROM ({column.default})::text"
    return present, lost


def _uncounted(
    connection: BaseDatabaseWrapper, table: LiveTable, losses: Sequence[Loss], error: Error
) -> list[Counted]:
    words = " ".join(str(error).split())
    problem = _TOOK_TOO_LONG.get(sqlstate_of(error) or "", words)
    with connection.cursor() as cursor:
        cursor.execute("SELECT reltuples::bigint FROM pg_class WHERE oid = %s", [table.oid])
        row = cursor.fetchone()
    estimate = row[0] if row and row[0] >= 0 else None
    return [
        Counted(loss=loss, rows=estimate, affected=None, lost=None, problem=problem)
        for loss in losses
    ]
