"""Pure: what differs from a baseline, as steps of one transaction, and what is left as it is.

What is missing or other is repaired. What nobody here knows, an index or a trigger that somebody
has added, is left: it may be there for a reason. It goes only where it stands in the way of what
the baseline has under the same name, or where an app names it as an older release's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from hodei.schema.adoption.variants import Adoption
from hodei.schema.catalog.model import Catalog, Column, Relation
from hodei.schema.drift import statements as sql
from hodei.schema.plan.tokens import tokens
from hodei.schema.replay.twins import transactional
from hodei.schema.results import Finding, FindingKind


class StepKind(StrEnum):
    """In the order in which the steps of one app are made."""

    #: A table in an older shape is converted.
    CONVERT = "convert"
    #: A table, column, type or sequence is made.
    ADD = "add"
    #: Rows are changed that would be in the way.
    ROWS = "rows"
    #: Everything else that differs.
    REPAIR = "repair"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One change, which is made or none is."""

    kind: StepKind
    #: ``table``, ``table.object`` or an object that belongs to no table.
    subject: str
    #: What is found and, for rows, what becomes of it; full sentences.
    message: str
    statements: tuple[str, ...]
    #: Its table, where it has one.
    table: str | None = None
    #: What was found otherwise than expected, where it was that.
    finding: Finding | None = None
    #: Of rows: how many there are.
    count: int | None = None

    @property
    def makes_its_table(self) -> bool:
        return self.finding is not None and self.finding.kind is FindingKind.MISSING_TABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Sorted:
    """The findings of one app: to be repaired, proved when everything is done, or left."""

    steps: tuple[Step, ...]
    #: Constraints that stand and hold new rows; old rows are read by the end.
    unproved: tuple[Finding, ...]
    left: tuple[Finding, ...]


_ADDS = frozenset(
    {
        FindingKind.MISSING_EXTENSION,
        FindingKind.MISSING_TYPE,
        FindingKind.MISSING_SEQUENCE,
        FindingKind.MISSING_TABLE,
        FindingKind.MISSING_COLUMN,
    }
)


def sort(
    findings: Sequence[Finding], expected: Catalog, live: Catalog, adoption: Adoption
) -> Sorted:
    """Decide of each finding what is to become of it."""
    steps, unproved, left = [], [], []
    done: set[tuple[str, tuple[str, ...]]] = set()
    for finding in findings:
        if finding.kind is FindingKind.NOT_VALID:
            unproved.append(finding)
        elif _is_left(finding, findings, expected, live, adoption):
            left.append(finding)
        else:
            statements = tuple(_statements(finding, expected, live))
            if (finding.subject, statements) in done:
                # Two things that differ about one index are repaired by building it once.
                statements = ()
            done.add((finding.subject, statements))
            steps.append(
                Step(
                    kind=StepKind.ADD if finding.kind in _ADDS else StepKind.REPAIR,
                    subject=finding.subject,
                    message=_message(finding),
                    statements=statements,
                    table=finding.table,
                    finding=finding,
                )
            )
    return Sorted(steps=tuple(steps), unproved=tuple(unproved), left=tuple(left))


def _is_left(
    finding: Finding,
    findings: Sequence[Finding],
    expected: Catalog,
    live: Catalog,
    adoption: Adoption,
) -> bool:
    if finding.kind is FindingKind.STORAGE_PARAMETERS:
        return True
    if not finding.kind.value.startswith("unexpected_"):
        return False
    table = finding.table or ""
    if table not in expected.relations or finding.object is None:
        return True
    wanted = expected.relations[table]
    names = {one.name for one in wanted.indexes} | {one.name for one in wanted.constraints}
    if finding.object in names:
        return False
    if finding.kind is not FindingKind.UNEXPECTED_INDEX:
        return not _is_replaced(finding, findings, wanted, live.relations[table])
    index = next(one for one in live.relations[table].indexes if one.name == finding.object)
    keys = f"({', '.join(key.text for key in index.keys)})"
    return index.unique or not adoption.obsolete_indexes.get(table, frozenset()) & {
        index.name,
        keys,
    }


def _is_replaced(
    finding: Finding, findings: Sequence[Finding], wanted: Relation, actual: Relation
) -> bool:
    """Whether a constraint does what a missing one is to do, in another way: it is on the same
    columns. A table has one primary key, so that any other one is replaced."""
    has = next((one for one in actual.constraints if one.name == finding.object), None)
    missing = {
        one.object
        for one in findings
        if one.table == wanted.name and one.kind.value.startswith("missing_")
    }
    return has is not None and any(
        one.name in missing
        and one.type == has.type
        and (one.type == "p" or set(one.columns) == set(has.columns))
        for one in wanted.constraints
    )


def _statements(finding: Finding, expected: Catalog, live: Catalog) -> Iterator[str]:
    table = finding.table or ""
    is_new = table not in live.relations
    if finding.kind is FindingKind.MISSING_COLUMN:
        wanted = expected.relations[table]
        column = next(one for one in wanted.columns if one.name == finding.object)
        if column.nullable and column.default is not None:
            yield from _added_unknown(wanted, column)
            return
    for statement in finding.repair:
        # A table with rows is not read while others wait for it: that is done at the end.
        if is_new or not _is_validation(statement):
            yield transactional(statement)


def _added_unknown(table: Relation, column: Column) -> Iterator[str]:
    """The default is for new rows; of old ones nobody knows the value."""
    bare = " ".join(
        part
        for part in (
            sql.quoted(column.name),
            column.type,
            f"COLLATE {column.collation}" if column.collation else "",
        )
        if part
    )
    yield sql.alter(table, f"ADD COLUMN {bare}")
    yield sql.alter(table, f"ALTER COLUMN {sql.quoted(column.name)} SET DEFAULT {column.default}")
    if column.comment is not None:
        target = f"COLUMN {sql.quoted(table.name)}.{sql.quoted(column.name)}"
        yield sql.comment(target, column.comment)


def _is_validation(statement: str) -> bool:
    words = tokens(statement)
    return words[0].is_word("alter") and any(
        one.is_word("validate") and other.is_word("constraint") for one, other in pairwise(words)
    )


def _message(finding: Finding) -> str:
    kind = finding.kind.value.replace("_", " ")
    if kind.startswith(("missing ", "unexpected ")):
        how, _space, noun = kind.partition(" ")
        there = "is missing" if how == "missing" else "is no use any more, or in the way"
        return f"{noun.capitalize()} {finding.subject} {there}."
    if finding.kind is FindingKind.RENAMED:
        return f"{finding.subject} is called {finding.expected} by the baseline."
    here = " ".join((finding.actual or "none").split())
    return f"The {kind} of {finding.subject} is not the baseline's. Here: {here}"


def described(finding: Finding) -> str:
    """What is left, in a few words."""
    noun = finding.kind.value.removeprefix("unexpected_").replace("_", " ")
    return f"{noun} {finding.subject}"
