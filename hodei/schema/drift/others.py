"""Pure: what belongs to no table: extensions, types, functions, sequences of their own."""

from __future__ import annotations

from collections.abc import Iterator

from hodei.schema.catalog.model import Catalog, Function, Type
from hodei.schema.drift import statements as sql
from hodei.schema.drift.columns import compare_sequences
from hodei.schema.drift.matching import match
from hodei.schema.drift.wording import found
from hodei.schema.results import Finding, FindingKind


def extensions(expected: Catalog, actual: Catalog) -> Iterator[Finding]:
    """Missing ones alone: what else is installed is for the owner of the server to say."""
    for name in sorted(set(expected.extensions) - set(actual.extensions)):
        yield found(
            FindingKind.MISSING_EXTENSION,
            object=name,
            expected=name,
            repair=(f"CREATE EXTENSION {sql.quoted(name)}",),
        )


def types(expected: Catalog, actual: Catalog) -> Iterator[Finding]:
    matched = match(expected.types.values(), actual.types.values(), lambda made: made.name)
    for made in matched.missing:
        yield found(
            FindingKind.MISSING_TYPE,
            object=made.name,
            expected=_described(made),
            repair=sql.create_type(made),
        )
    for wanted, has in matched.same_name:
        if (wanted.kind, wanted.parts) != (has.kind, has.parts):
            yield found(
                FindingKind.CHANGED_TYPE,
                object=wanted.name,
                expected=_described(wanted),
                actual=_described(has),
                repair=tuple(_change_type(wanted, has)),
            )


def unexpected_types(expected: Catalog, actual: Catalog) -> Iterator[Finding]:
    for name, made in actual.types.items():
        if name not in expected.types:
            yield found(
                FindingKind.UNEXPECTED_TYPE,
                object=name,
                actual=_described(made),
                repair=sql.drop_type(made),
            )


def _described(made: Type) -> str:
    return f"{made.kind} ({', '.join(made.parts)})"


def _change_type(wanted: Type, has: Type) -> Iterator[str]:
    """Labels can be added to an enum; nothing else changes while columns are of that type."""
    if wanted.kind == has.kind == "enum" and set(has.parts) < set(wanted.parts):
        for place, label in enumerate(wanted.parts):
            if label not in has.parts:
                where = f" AFTER {sql.literal(wanted.parts[place - 1])}" if place else ""
                if not place:
                    where = f" BEFORE {sql.literal(has.parts[0])}"
                yield f"ALTER TYPE {sql.quoted(wanted.name)} ADD VALUE {sql.literal(label)}{where}"
    else:
        yield from sql.drop_type(has)
        yield from sql.create_type(wanted)


def functions(expected: Catalog, actual: Catalog) -> Iterator[Finding]:
    matched = match(expected.functions.values(), actual.functions.values(), lambda one: one.name)
    for function in matched.missing:
        yield found(
            FindingKind.MISSING_FUNCTION,
            object=function.name,
            expected=function.definition,
            repair=sql.create_function(function),
        )
    for wanted, has in matched.same_name:
        yield from _function_differences(wanted, has)


def _function_differences(wanted: Function, has: Function) -> Iterator[Finding]:
    if wanted.definition != has.definition:
        yield found(
            FindingKind.FUNCTION_BODY,
            object=wanted.name,
            expected=wanted.definition,
            actual=has.definition,
            repair=(wanted.definition,),
        )
    if wanted.comment != has.comment:
        target = f"{wanted.kind} {sql.function_name(wanted)}"
        yield found(
            FindingKind.COMMENT,
            object=wanted.name,
            expected=wanted.comment,
            actual=has.comment,
            repair=(sql.comment(target, wanted.comment),),
        )


def unexpected_functions(expected: Catalog, actual: Catalog) -> Iterator[Finding]:
    for name, function in actual.functions.items():
        if name not in expected.functions:
            yield found(
                FindingKind.UNEXPECTED_FUNCTION,
                object=name,
                actual=function.definition,
                repair=(f"DROP {function.kind} {sql.function_name(function)}",),
            )


def sequences(expected: Catalog, actual: Catalog) -> Iterator[Finding]:
    """Those that number no column of theirs; the others are the column's business."""
    for name, wanted in expected.sequences.items():
        has = actual.sequences.get(name)
        if has is None and wanted.owned_by is None:
            yield found(
                FindingKind.MISSING_SEQUENCE,
                object=name,
                expected=sql.sequence_body(wanted),
                repair=(f"CREATE SEQUENCE {sql.quoted(name)} {sql.sequence_body(wanted)}",),
            )
        elif has is not None and wanted.owned_by is None:
            yield from compare_sequences(wanted, has)
            if has.owned_by is not None:
                yield found(
                    FindingKind.SEQUENCE_OWNERSHIP,
                    object=name,
                    expected="a sequence of its own",
                    actual=f"owned by {'.'.join(has.owned_by)}",
                    repair=(sql.owned_by(name, None),),
                )


def unexpected_sequences(expected: Catalog, actual: Catalog) -> Iterator[Finding]:
    for name, has in actual.sequences.items():
        if has.owned_by is None and name not in expected.sequences:
            yield found(
                FindingKind.UNEXPECTED_SEQUENCE,
                object=name,
                actual=sql.sequence_body(has),
                repair=(f"DROP SEQUENCE {sql.quoted(name)}",),
            )
