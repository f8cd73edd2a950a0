"""Pure: whether a table can be what the baseline makes, changed by nothing that is not undone.

A table that has one of our names may be another program's. What would have to be guessed, or would
lose something, makes its shape an unknown one, and an unknown one is never touched.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from hodei.schema.catalog.model import Column, Relation
from hodei.schema.drift.canonical import same

_LIMITED = re.compile(r"^character varying\((\d+)\)$")


def reasons(expected: Relation, actual: Relation, later: Collection[str] = ()) -> list[str]:
    """Why the table cannot be taken for the baseline's; none if it can. Each is a clause.

    ``later`` are columns that migrations after the baseline add.
    """
    if expected.kind != actual.kind or actual.parent is not None:
        what = "partition" if actual.parent is not None else actual.kind
        return [f"it is a {what} and not a {expected.kind}"]
    return list(_reasons(expected, actual, later))


def _reasons(expected: Relation, actual: Relation, later: Collection[str]) -> Iterator[str]:
    there = {column.name: column for column in actual.columns}
    key = {name for one in expected.constraints if one.type == "p" for name in one.columns}
    lacking = [
        f"{column.name} ({column.type})"
        for column in expected.columns
        if column.name not in there and (column.name in key or not _can_be_added(column))
    ]
    if lacking:
        yield f"it lacks {', '.join(lacking)}"
    for column in expected.columns:
        if column.name in there:
            yield from _column(column, there[column.name])
    known = {column.name for column in expected.columns}
    for column in actual.columns:
        if column.name not in known:
            yield from _unknown_column(column, later)
    if not same(expected.partition_key, actual.partition_key):
        yield f"it is partitioned by {actual.partition_key or 'nothing'}"
    for part, words in (
        ("row_security", "row-level security"),
        ("force_row_security", "forced row-level security"),
    ):
        if getattr(expected, part) != getattr(actual, part):
            yield f"its {words} is {'on' if getattr(actual, part) else 'off'}"


def _unknown_column(column: Column, later: Collection[str]) -> Iterator[str]:
    if column.name in later:
        yield f"it has {column.name} already, which a migration after the baseline adds"
    elif not column.nullable and column.default is None and not _makes_itself(column):
        yield f"it demands a value for {column.name} ({column.type}), which nothing here gives"


def _column(expected: Column, actual: Column) -> Iterator[str]:
    if expected.type != actual.type and not is_wider(expected.type, actual.type):
        yield f"its {actual.name} is {actual.type} and not {expected.type}"
    if expected.collation != actual.collation:
        yield f"its {actual.name} has the collation {actual.collation or 'default'}"
    if expected.generated_kind != actual.generated_kind or not same(
        expected.generated, actual.generated
    ):
        how = "generated" if actual.generated is not None else "not generated"
        yield f"its {actual.name} is {how}, or in another way"


def is_wider(expected: str, actual: str) -> bool:
    """Whether every value of the actual type of text fits the expected one as it is."""
    has = _LIMITED.match(actual)
    wanted = _LIMITED.match(expected)
    if expected in {"text", "character varying"}:
        return has is not None or actual in {"text", "character varying"}
    return bool(has and wanted and int(has[1]) < int(wanted[1]))


def _can_be_added(column: Column) -> bool:
    """To a table with rows, without saying of them what nobody knows."""
    if column.generated is not None or column.identity:
        return False
    return column.nullable or _is_constant(column.default)


def _is_constant(default: str | None) -> bool:
    # A function would give old rows a value of today, or make PostgreSQL write the table anew.
    return default is not None and not re.search(r"\w\(", default)


def _makes_itself(column: Column) -> bool:
    return column.generated is not None or column.identity is not None
