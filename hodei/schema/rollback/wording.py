"""Pure: losses in words."""

from __future__ import annotations

from hodei.schema.rollback.counting import Counted
from hodei.schema.rollback.losses import What


def amount(counted: Counted) -> str:
    """How much of it goes: ``1,204 rows``, ``17 values (3 computed or the default)``."""
    if counted.problem is not None:
        about = "unknown" if counted.rows is None else f"about {counted.rows:,} rows in the table"
        return f"{about} ({counted.problem})"
    loss = counted.loss
    affected, lost = counted.affected or 0, counted.lost or 0
    match loss.what:
        case What.COLUMN | What.VALUES:
            return _number(affected, "value") + _kept(affected, lost, "computed or the default")
        case What.TABLE:
            return _number(affected, "row") + _kept(affected, lost, "moved first")
        case What.ROWS if loss.detail != "all its rows":
            return f"some of {_number(affected, 'row')}"
        case _:
            return _number(affected, "row")


def subject(counted: Counted) -> str:
    """What it is about: ``shop_order.total``; a rule tells its reason, a type which."""
    loss = counted.loss
    if loss.what is What.VALUES and loss.column:
        return f"{loss.shown} ({loss.column.type} to {loss.detail})"
    if loss.what is What.MISFITS:
        where = f", to {loss.table.shown}_head_rows" if loss.moved else ""
        return f"{loss.shown} ({loss.detail}{where})"
    return loss.shown


def sentence(counted: Counted) -> str:
    """Both, for an error: ``table shop_note, 1,204 rows``."""
    return f"{counted.loss.what} {subject(counted)}: {amount(counted)}"


def _number(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _kept(affected: int, lost: int, how: str) -> str:
    kept = affected - lost
    if not kept:
        return ""
    return f" ({'all' if not lost else f'{kept:,}'} {how})"
