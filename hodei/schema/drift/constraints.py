"""Pure: primary keys, unique, check, exclusion and foreign key constraints of one table."""

from __future__ import annotations

from collections.abc import Iterator

from hodei.schema.catalog.model import Constraint, Relation
from hodei.schema.drift import statements as sql
from hodei.schema.drift.canonical import Canonical, canonical, same
from hodei.schema.drift.matching import Matched, match
from hodei.schema.drift.wording import found
from hodei.schema.results import Finding, FindingKind

_MISSING = {
    "p": FindingKind.MISSING_PRIMARY_KEY,
    "u": FindingKind.MISSING_UNIQUE,
    "c": FindingKind.MISSING_CHECK,
    "x": FindingKind.MISSING_EXCLUSION,
    "f": FindingKind.MISSING_FOREIGN_KEY,
}
_CHANGED = {
    "p": FindingKind.CHANGED_PRIMARY_KEY,
    "u": FindingKind.CHANGED_UNIQUE,
    "c": FindingKind.CHECK_EXPRESSION,
    "x": FindingKind.CHANGED_EXCLUSION,
}
_UNEXPECTED = {
    "p": FindingKind.UNEXPECTED_PRIMARY_KEY,
    "u": FindingKind.UNEXPECTED_UNIQUE,
    "c": FindingKind.UNEXPECTED_CHECK,
    "x": FindingKind.UNEXPECTED_EXCLUSION,
    "f": FindingKind.UNEXPECTED_FOREIGN_KEY,
}


def _meaning(constraint: Constraint) -> tuple[str, Canonical]:
    return constraint.type, canonical(constraint.definition)


def matched(expected: Relation, actual: Relation) -> Matched[Constraint]:
    return match(expected.constraints, actual.constraints, _meaning)


def unexpected_constraints(actual: Relation, found_on: Matched[Constraint]) -> Iterator[Finding]:
    for constraint in found_on.unexpected:
        yield found(
            _UNEXPECTED[constraint.type],
            table=actual.name,
            object=constraint.name,
            actual=constraint.definition,
            repair=(sql.drop_constraint(actual, constraint.name),),
        )


def changed_constraints(
    expected: Relation, actual: Relation, found_on: Matched[Constraint], types: str
) -> Iterator[Finding]:
    """Of these types: what is missing, renamed or other. Keys come before what points at them."""
    for constraint in found_on.missing:
        if constraint.type in types:
            yield missing_constraint(expected, actual, constraint)
    for wanted, has in found_on.renamed:
        if wanted.type in types:
            rename = f"RENAME CONSTRAINT {sql.quoted(has.name)} TO {sql.quoted(wanted.name)}"
            yield found(
                FindingKind.RENAMED,
                table=actual.name,
                object=has.name,
                expected=wanted.name,
                actual=has.name,
                repair=(sql.alter(actual, rename),),
            )
    for wanted, has in (*found_on.same_name, *found_on.renamed):
        if wanted.type in types:
            yield from _differences(actual, wanted, has)


def missing_constraint(expected: Relation, actual: Relation, wanted: Constraint) -> Finding:
    return found(
        _MISSING[wanted.type],
        table=expected.name,
        object=wanted.name,
        expected=wanted.definition,
        repair=sql.add_constraint(actual, wanted),
    )


def _differences(actual: Relation, wanted: Constraint, has: Constraint) -> Iterator[Finding]:
    anew = (sql.drop_constraint(actual, wanted.name), *sql.add_constraint(actual, wanted))

    def difference(
        kind: FindingKind,
        expected: str | None,
        is_now: str | None,
        repair: tuple[str, ...] = anew,
    ) -> Finding:
        return found(
            kind,
            table=actual.name,
            object=wanted.name,
            expected=expected,
            actual=is_now,
            repair=repair,
        )

    if wanted.type != has.type:
        yield difference(_MISSING[wanted.type], wanted.definition, has.definition)
        return
    if wanted.type == "f":
        for kind, expected, is_now in _foreign_key_parts(wanted, has):
            yield difference(kind, expected, is_now)
    elif not same(wanted.definition, has.definition):
        yield difference(_CHANGED[wanted.type], wanted.definition, has.definition)
    if (wanted.deferrable, wanted.deferred) != (has.deferrable, has.deferred):
        action = f"ALTER CONSTRAINT {sql.quoted(wanted.name)} {_deferrability(wanted)}"
        repair = (sql.alter(actual, action),) if wanted.type == "f" else anew
        yield difference(
            FindingKind.DEFERRABILITY, _deferrability(wanted), _deferrability(has), repair
        )
    if wanted.validated and not has.validated:
        validate = sql.alter(actual, f"VALIDATE CONSTRAINT {sql.quoted(wanted.name)}")
        yield difference(FindingKind.NOT_VALID, "VALID", "NOT VALID", (validate,))
    if not has.index_valid:
        reindex = f"REINDEX INDEX CONCURRENTLY {sql.quoted(wanted.name)}"
        yield difference(FindingKind.INVALID_INDEX, "VALID", "INVALID", (reindex,))
    if wanted.comment != has.comment:
        target = f"CONSTRAINT {sql.quoted(wanted.name)} ON {sql.quoted(actual.name)}"
        text = sql.comment(target, wanted.comment)
        yield difference(FindingKind.COMMENT, wanted.comment, has.comment, (text,))


def _foreign_key_parts(
    wanted: Constraint, has: Constraint
) -> Iterator[tuple[FindingKind, str, str]]:
    if wanted.definition == has.definition:
        return
    parts = (
        (FindingKind.FOREIGN_KEY_COLUMNS, _listed(wanted.columns), _listed(has.columns)),
        (FindingKind.FOREIGN_KEY_TARGET, _target(wanted), _target(has)),
        (FindingKind.FOREIGN_KEY_ON_DELETE, wanted.on_delete, has.on_delete),
        (FindingKind.FOREIGN_KEY_ON_UPDATE, wanted.on_update, has.on_update),
    )
    changed = [part for part in parts if part[1] != part[2]]
    # What has no column of its own in the catalog: MATCH FULL, or SET NULL of some columns.
    whole = (FindingKind.FOREIGN_KEY_TARGET, wanted.definition, has.definition)
    yield from changed or [whole]


def _listed(columns: tuple[str, ...]) -> str:
    return f"({', '.join(columns)})"


def _target(constraint: Constraint) -> str:
    return f"{constraint.target}{_listed(constraint.target_columns)}"


def _deferrability(constraint: Constraint) -> str:
    if not constraint.deferrable:
        return "NOT DEFERRABLE"
    return f"DEFERRABLE INITIALLY {'DEFERRED' if constraint.deferred else 'IMMEDIATE'}"
