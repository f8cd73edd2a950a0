"""Pure: two catalogs compared, and what differs as findings, each with the SQL that would undo it.

The order of the findings is one in which their repairs can be run: what is used comes before what
uses it. Column order, object numbers and statistics are nobody's business here; partitions that
were made at run time are compared with their parent.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from hodei.schema.catalog.model import Catalog, Relation
from hodei.schema.drift import columns, constraints, indexes, others, relations
from hodei.schema.drift import statements as sql
from hodei.schema.drift.rights import rights
from hodei.schema.drift.wording import found
from hodei.schema.results import Finding, FindingKind, Severity

#: Tables that migrating itself writes; they are there before the first migration.
BOOKKEEPING = ("django_migrations", "schema_migration_runs")
#: Tables of this ending hold rows that a way back has moved out of the table of that name.
ARCHIVE = "_head_rows"

Pair = tuple[Relation, Relation]


def compare(
    expected: Catalog,
    actual: Catalog,
    *,
    privileges: bool = False,
    known: Collection[str] = (),
) -> list[Finding]:
    """Return what differs. ``known`` are tables that are accounted for otherwise."""
    owner = next(
        (actual.relations[name].owner for name in BOOKKEEPING if name in actual.relations), None
    )
    expected, actual = expected.without(*BOOKKEEPING), actual.without(*BOOKKEEPING)
    actual = actual.without(*(set(known) - expected.relations.keys()))
    expected = _with_partitions(expected, actual)
    findings = list(_differences(expected, actual))
    if privileges:
        for wanted, has in _pairs(expected, actual):
            findings.extend(rights(wanted, has, expected, actual, owner))
    return findings


def compared(expected: Catalog) -> int:
    """How many relations there were to compare."""
    return len(expected.without(*BOOKKEEPING).relations)


def _differences(expected: Catalog, actual: Catalog) -> Iterator[Finding]:
    pairs = _pairs(expected, actual)
    tables = [pair for pair in pairs if pair[1].holds_rows]
    matched = [(*pair, constraints.matched(*pair), indexes.matched(*pair)) for pair in tables]

    yield from others.extensions(expected, actual)
    yield from others.types(expected, actual)
    yield from others.sequences(expected, actual)
    # Away with what nobody asked for, since it may stand in the way of what follows.
    for wanted, has, of_constraints, of_indexes in matched:
        yield from relations.unexpected_policies(wanted, has)
        yield from relations.unexpected_triggers(wanted, has)
        yield from constraints.unexpected_constraints(has, of_constraints)
        yield from indexes.unexpected_indexes(has, of_indexes)
    yield from _unexpected_relations(expected, actual)
    for wanted, has in tables:
        yield from columns.unexpected_columns(wanted, has)
    yield from _missing_relations(expected, actual, views=False)
    for wanted, has in tables:
        yield from relations.whole_relation(wanted, has)
        yield from columns.missing_columns(wanted, has, expected)
        yield from columns.changed_columns(wanted, has, expected, actual)
    yield from others.functions(expected, actual)
    for wanted, has, of_constraints, _of_indexes in matched:
        yield from constraints.changed_constraints(wanted, has, of_constraints, "puxc")
    for wanted, has, _of_constraints, of_indexes in matched:
        yield from indexes.changed_indexes(wanted, has, of_indexes)
    yield from _foreign_keys_of_missing(expected, actual)
    for wanted, has, of_constraints, _of_indexes in matched:
        yield from constraints.changed_constraints(wanted, has, of_constraints, "f")
    for wanted, has in pairs:
        if not has.holds_rows:
            yield from relations.whole_relation(wanted, has)
    yield from _missing_relations(expected, actual, views=True)
    for wanted, has in pairs:
        yield from relations.triggers(wanted, has)
        yield from relations.policies(wanted, has)
        yield from relations.comments(wanted, has)
    yield from others.unexpected_functions(expected, actual)
    yield from others.unexpected_sequences(expected, actual)
    yield from others.unexpected_types(expected, actual)


def _pairs(expected: Catalog, actual: Catalog) -> list[Pair]:
    return [
        (wanted, actual.relations[name])
        for name, wanted in expected.relations.items()
        if name in actual.relations
        and wanted.holds_rows == actual.relations[name].holds_rows
        and (wanted.holds_rows or wanted.kind == actual.relations[name].kind)
    ]


def _missing_relations(expected: Catalog, actual: Catalog, *, views: bool) -> Iterator[Finding]:
    paired = {wanted.name for wanted, _has in _pairs(expected, actual)}
    for name, wanted in sorted(
        expected.relations.items(), key=lambda item: (item[1].parent is not None, item[0])
    ):
        if name in paired or wanted.holds_rows is views:
            continue
        made = replace(
            wanted, columns=tuple(columns.portable(c, name, expected) for c in wanted.columns)
        )
        repair = sql.create_relation(made)
        has = actual.relations.get(name)
        if has is not None:
            yield found(
                FindingKind.CHANGED_TABLE,
                table=name,
                expected=wanted.kind,
                actual=has.kind,
                repair=(*sql.drop_relation(has), *repair),
            )
            continue
        yield found(
            FindingKind.MISSING_VIEW if views else FindingKind.MISSING_TABLE,
            table=name,
            expected=wanted.kind,
            repair=repair,
            # Retention drops partitions, and is right to.
            severity=Severity.WARNING if wanted.parent is not None else None,
            remark="" if views else "Its rows are not in this repair.",
        )


def _foreign_keys_of_missing(expected: Catalog, actual: Catalog) -> Iterator[Finding]:
    paired = {wanted.name for wanted, _has in _pairs(expected, actual)}
    for name, wanted in expected.relations.items():
        if name not in paired:
            for constraint in wanted.constraints:
                if constraint.type == "f":
                    yield constraints.missing_constraint(wanted, wanted, constraint)


def _unexpected_relations(expected: Catalog, actual: Catalog) -> Iterator[Finding]:
    views_first = sorted(actual.relations.items(), key=lambda item: (item[1].holds_rows, item[0]))
    for name, has in views_first:
        if name in expected.relations:
            continue
        remark = "" if not has.holds_rows else "Dropping it loses its rows."
        if name.endswith(ARCHIVE) and name.removesuffix(ARCHIVE) in expected.relations:
            table = name.removesuffix(ARCHIVE)
            remark = f"It keeps rows that a way back has moved out of {table}; look at them first."
        yield found(
            FindingKind.UNEXPECTED_TABLE if has.holds_rows else FindingKind.UNEXPECTED_VIEW,
            table=name,
            actual=has.kind,
            repair=sql.drop_relation(has),
            remark=remark,
        )


def _with_partitions(expected: Catalog, actual: Catalog) -> Catalog:
    """The expected catalog, with the partitions that were made at run time as their parent asks."""
    made = dict(expected.relations)
    waiting = [r for r in actual.relations.values() if r.parent and r.name not in made]
    while waiting:
        known = [relation for relation in waiting if relation.parent in made]
        if not known:
            break
        for relation in known:
            parent = made[str(relation.parent)]
            made[relation.name] = _as_partition(parent, relation)
        waiting = [relation for relation in waiting if relation.name not in made]
    return replace(expected, relations=made)


def _as_partition(parent: Relation, actual: Relation) -> Relation:
    """What a partition must be: its parent's columns. Defaults and comments are its own."""
    has = {column.name: column for column in actual.columns}
    return replace(
        actual,
        columns=tuple(
            replace(
                column,
                default=has[column.name].default,
                identity=has[column.name].identity,
                comment=has[column.name].comment,
            )
            if column.name in has
            else column
            for column in parent.columns
        ),
        indexes=(),
        constraints=(),
        triggers=(),
        unlogged=parent.unlogged,
        row_security=False,
        force_row_security=False,
    )
