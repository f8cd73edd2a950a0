"""Pure: which rows a repair would stumble over, as conditions to count them by beforehand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from hodei.schema.catalog.model import Catalog, Constraint, Index, Relation
from hodei.schema.drift.statements import quoted
from hodei.schema.results import Finding, FindingKind

Thing = TypeVar("Thing", Constraint, Index)

_CHECK = re.compile(r"^CHECK (\(.*\))(?: NO INHERIT)?$", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Where a row meets the condition, ``subject`` cannot be as the baseline has it."""

    table: str
    subject: str
    condition: str
    #: What such rows do, as the end of "3 rows of jobs ...".
    words: str

    def counting(self, readings: Mapping[str, str]) -> str:
        return counting(self.table, self.condition, readings)

    def told(self, count: int) -> str:
        return (
            f"{rows(count)} of {self.table} {self.words}. Nothing here knows what to make of them. "
            f"Look at them and correct them: SELECT * FROM {quoted(self.table)} "
            f"WHERE {self.condition}"
        )


def counting(table: str, condition: str, readings: Mapping[str, str]) -> str:
    """The query that counts these rows, in a table that may not be as it is read yet."""
    shown = ", ".join(f"{quoted(name)} AS ({text})" for name, text in readings.items())
    return (
        f"{f'WITH {shown} ' if shown else ''}SELECT count(*) FROM {quoted(table)} WHERE {condition}"
    )


def rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def proofs(
    findings: Sequence[Finding],
    expected: Catalog,
    live: Catalog,
    relaxed: Mapping[str, str | None],
) -> Iterator[Proof]:
    """What must not be found, for these to be repaired and their constraints to be valid."""
    for finding in findings:
        table = finding.table or ""
        if table not in live.relations or finding.object is None:
            continue
        found = _proof(finding, finding.object, expected.relations[table])
        if found is None:
            continue
        if finding.subject not in relaxed:
            yield found
            continue
        allowed = relaxed[finding.subject]
        if allowed is not None:
            yield Proof(
                table=found.table,
                subject=found.subject,
                condition=f"NOT ({allowed})",
                words=f"break {finding.object} and what later migrations make of it",
            )


def _proof(finding: Finding, name: str, expected: Relation) -> Proof | None:
    condition = words = ""
    if finding.kind is FindingKind.NULLABILITY:
        if finding.expected == "NOT NULL":
            condition, words = f"{quoted(name)} IS NULL", f"have no {name}"
    elif constraint := _named(expected.constraints, name):
        condition, words = _of_constraint(expected, constraint)
    elif (index := _named(expected.indexes, name)) and index.unique:
        condition, words = _of_index(expected, index)
    if not condition:
        return None
    return Proof(table=expected.name, subject=finding.subject, condition=condition, words=words)


def _of_constraint(table: Relation, made: Constraint) -> tuple[str, str]:
    if made.type == "c" and (match := _CHECK.match(made.definition)):
        return f"NOT {match[1]}", f"break {made.name}"
    if made.type in {"p", "u"}:
        return _several(table.name, [quoted(one) for one in made.columns], None), (
            f"have the same {', '.join(made.columns)} as another one"
        )
    if made.type == "f" and made.target is not None:
        # A table of another schema is printed with it, and quoted.
        own, target = quoted(table.name), made.target if "." in made.target else quoted(made.target)
        pairs = zip(made.target_columns, made.columns, strict=True)
        same = " AND ".join(f"target.{quoted(far)} = {own}.{quoted(near)}" for far, near in pairs)
        given = " AND ".join(f"{own}.{quoted(one)} IS NOT NULL" for one in made.columns)
        return (
            f"{given} AND NOT EXISTS (SELECT FROM {target} AS target WHERE {same})",
            f"point at no row of {made.target} ({', '.join(made.columns)})",
        )
    return "", ""


def _of_index(table: Relation, made: Index) -> tuple[str, str]:
    keys = [key.text for key in made.keys]
    return _several(table.name, keys, made.predicate), (
        f"have the same {', '.join(keys)} as another one"
    )


def _several(table: str, keys: list[str], predicate: str | None) -> str:
    listed = ", ".join(keys)
    where = f" WHERE {predicate}" if predicate else ""
    grouped = f"SELECT {listed} FROM {quoted(table)}{where} GROUP BY {listed} HAVING count(*) > 1"
    return f"{f'{predicate} AND ' if predicate else ''}({listed}) IN ({grouped})"


def _named(things: Sequence[Thing], name: str) -> Thing | None:
    return next((one for one in things if one.name == name), None)
