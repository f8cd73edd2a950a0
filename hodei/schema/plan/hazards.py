"""From what a statement does, and what the table is, to what somebody should know before it runs.

Nothing is said of a table that the plan itself creates: nobody waits for it, and it is empty.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from hodei.schema.plan.actions import Action, Analysis, Does
from hodei.schema.plan.locks import LockMode
from hodei.schema.plan.relations import Relations, Table
from hodei.schema.plan.types import Change, change, loses


class Code(StrEnum):
    """What kind of warning; these words stay."""

    TABLE_REWRITE = "table-rewrite"
    BLOCKING_INDEX_BUILD = "blocking-index-build"
    NOT_NULL_SCAN = "not-null-scan"
    CONSTRAINT_VALIDATION = "constraint-validation"
    DATA_LOSS = "data-loss"
    IRREVERSIBLE = "irreversible"
    UNKNOWN_SQL = "unknown-sql"
    NOT_IN_TRANSACTION = "not-in-transaction"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hazard:
    """One warning, in full sentences that say what to do instead where there is something."""

    code: Code
    table: str | None
    message: str


def hazards(analysis: Analysis, relations: Relations, *, atomic: bool) -> list[Hazard]:
    """The warnings of one statement, which takes the relations on to the state after it.

    ``atomic``: it runs inside its migration's transaction.
    """
    found = []
    if not analysis.is_known:
        found.append(
            Hazard(
                code=Code.UNKNOWN_SQL,
                table=None,
                message="What this statement locks cannot be told from its text. Read it.",
            )
        )
    if analysis.is_concurrent and atomic:
        found.append(
            Hazard(
                code=Code.NOT_IN_TRANSACTION,
                table=None,
                message=(
                    "This fails: PostgreSQL refuses CONCURRENTLY in a transaction. "
                    "Set atomic = False on the migration, and give it this one operation."
                ),
            )
        )
    for action in analysis.actions:
        table = relations.table(action.table) if action.table else None
        if table is None or not table.is_new:
            found.extend(_of(action, table, analysis))
        relations.apply(action)
    return found


def _of(action: Action, table: Table | None, analysis: Analysis) -> Iterator[Hazard]:
    name = table.name if table else (str(action.table) if action.table else None)
    if action.does is Does.CHANGE_TYPE:
        yield from _type_change(action, table, name)
        return
    found = _simple(action, table, name) or _by_lock(action, table, analysis, name)
    if found is not None:
        code, message = found
        yield Hazard(code=code, table=name, message=message)


def _simple(action: Action, table: Table | None, name: str | None) -> tuple[Code, str] | None:
    """What is so whichever lock is held meanwhile."""
    match action.does:
        case Does.REWRITE:
            return Code.TABLE_REWRITE, (
                f"Every row of {name} is written anew while nobody else can read or write: "
                f"{action.detail}."
            )
        case Does.MAY_REWRITE:
            return Code.TABLE_REWRITE, (
                f"Every row of {name} is written anew if {action.detail}() is volatile. Add the "
                "column without the default, fill it in batches, then set the default."
            )
        case Does.DROP_TABLE:
            return Code.DATA_LOSS, f"Table {name} goes, with {_rows(table)}."
        case Does.DROP_COLUMN:
            what = f"Column {action.column} of {name} goes"
            return Code.DATA_LOSS, f"{what}, with what it holds in {_rows(table)}."
        case Does.LOSE:
            of = f" of {name}" if name else ""
            return Code.DATA_LOSS, f"This takes {action.detail}{of}."
        case _:
            return None


def _by_lock(
    action: Action, table: Table | None, analysis: Analysis, name: str | None
) -> tuple[Code, str] | None:
    """What matters because of whom it keeps waiting."""
    match action.does:
        case Does.BUILD_INDEX if not analysis.is_concurrent:
            return Code.BLOCKING_INDEX_BUILD, _index_message(action, analysis, name)
        case Does.SET_NOT_NULL if table is None or not table.proves_not_null(action.column):
            return Code.NOT_NULL_SCAN, (
                f"Every row of {name} is read while nobody else can read or write. First prove it "
                "with a CHECK (... IS NOT NULL) NOT VALID and VALIDATE CONSTRAINT, each in a "
                "migration of its own."
            )
        case Does.ADD_CHECK:
            return Code.CONSTRAINT_VALIDATION, (
                f"Every row of {name} is read while nobody else can read or write. Add the "
                "constraint NOT VALID, then VALIDATE CONSTRAINT in the next migration."
            )
        case Does.SCAN:
            return Code.CONSTRAINT_VALIDATION, _scan_message(action, analysis, name)
        case _:
            return None


def _type_change(action: Action, table: Table | None, name: str | None) -> Iterator[Hazard]:
    old = table.columns.get(action.column or "") if table else None
    told = f"{old or 'an unknown type'} to {action.detail}"
    if old is None or change(old, action.detail) is Change.REWRITE:
        yield Hazard(
            code=Code.TABLE_REWRITE,
            table=name,
            message=(
                f"Every row of {name} is written anew, and its indexes with it, while nobody else "
                f"can read or write: {action.column} from {told}. Add a new column, fill it in "
                "batches, then change over."
            ),
        )
    if old is None or loses(old, action.detail):
        yield Hazard(
            code=Code.DATA_LOSS,
            table=name,
            message=(
                f"Values of {name}.{action.column} that do not fit are cut, rounded or refused: "
                f"{told}."
            ),
        )


def _index_message(action: Action, analysis: Analysis, name: str | None) -> str:
    strongest = max((lock.mode for lock in analysis.locks), key=lambda mode: mode.strength)
    where = f"on {name}" if name else f"for {action.detail}"
    if strongest is LockMode.ACCESS_EXCLUSIVE:
        return (
            f"An index {where} is built while nobody else can read or write. Build a unique index "
            "CONCURRENTLY first, then add the constraint USING INDEX."
        )
    return (
        f"An index {where} is built while nobody else can write. Use AddIndexConcurrently, alone "
        "in a migration with atomic = False."
    )


def _scan_message(action: Action, analysis: Analysis, name: str | None) -> str:
    own = next((lock.mode for lock in analysis.locks if lock.relation == action.table), None)
    what = "read or write" if own is LockMode.ACCESS_EXCLUSIVE else "write"
    also = f" (nor write to {action.target})" if action.target else ""
    return (
        f"Every row of {name} is read for {action.detail} while nobody else can {what}{also}. Add "
        "the constraint NOT VALID, then VALIDATE CONSTRAINT in the next migration."
    )


def _rows(table: Table | None) -> str:
    if table is None or table.rows is None:
        return "all its rows"
    return f"about {table.rows:,} rows"
