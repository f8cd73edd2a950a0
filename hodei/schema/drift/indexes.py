"""Pure: the indexes of one table that stand behind no constraint."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from hodei.schema.catalog.model import Index, Relation
from hodei.schema.drift import statements as sql
from hodei.schema.drift.canonical import canonical, same
from hodei.schema.drift.matching import Matched, match
from hodei.schema.drift.wording import found
from hodei.schema.results import Finding, FindingKind


def _meaning(index: Index) -> Hashable:
    return (
        index.method,
        index.unique,
        index.nulls_not_distinct,
        tuple((canonical(k.text), k.order, k.operator_class, k.collation) for k in index.keys),
        index.included,
        canonical(index.predicate or ""),
    )


def matched(expected: Relation, actual: Relation) -> Matched[Index]:
    return match(expected.indexes, actual.indexes, _meaning)


def unexpected_indexes(actual: Relation, found_on: Matched[Index]) -> Iterator[Finding]:
    meant = {
        _meaning(wanted): wanted.name for wanted, _has in (*found_on.same_name, *found_on.renamed)
    }
    for index in found_on.unexpected:
        remark = ""
        if _meaning(index) in meant:
            remark = f"It does what {meant[_meaning(index)]} does."
        elif not index.valid:
            remark = "It is invalid: a concurrent build of it failed."
        yield found(
            FindingKind.UNEXPECTED_INDEX,
            table=actual.name,
            object=index.name,
            actual=index.definition,
            repair=(sql.drop_index(actual, index.name),),
            remark=remark,
        )


def changed_indexes(
    expected: Relation, actual: Relation, found_on: Matched[Index]
) -> Iterator[Finding]:
    for index in found_on.missing:
        yield found(
            FindingKind.MISSING_INDEX,
            table=expected.name,
            object=index.name,
            expected=index.definition,
            repair=sql.create_index(actual, index),
        )
    for wanted, has in found_on.renamed:
        rename = f"ALTER INDEX {sql.quoted(has.name)} RENAME TO {sql.quoted(wanted.name)}"
        yield found(
            FindingKind.RENAMED,
            table=actual.name,
            object=has.name,
            expected=wanted.name,
            actual=has.name,
            repair=(rename,),
        )
    for wanted, has in (*found_on.same_name, *found_on.renamed):
        yield from _differences(actual, wanted, has)


def _differences(actual: Relation, wanted: Index, has: Index) -> Iterator[Finding]:
    anew = (sql.drop_index(actual, wanted.name), *sql.create_index(actual, wanted))
    for kind, expected, is_now in _parts(wanted, has):
        yield found(
            kind,
            table=actual.name,
            object=wanted.name,
            expected=expected,
            actual=is_now,
            repair=anew,
        )
    if not (has.valid and has.ready) and _meaning(wanted) == _meaning(has):
        yield found(
            FindingKind.INVALID_INDEX,
            table=actual.name,
            object=wanted.name,
            expected="VALID",
            actual="INVALID",
            repair=(f"REINDEX INDEX CONCURRENTLY {sql.quoted(wanted.name)}",),
            remark="A concurrent build of it failed: writes pay for it, and no query uses it.",
        )
    if wanted.options != has.options:
        yield found(
            FindingKind.STORAGE_PARAMETERS,
            table=actual.name,
            object=wanted.name,
            expected=", ".join(wanted.options) or None,
            actual=", ".join(has.options) or None,
            repair=anew,
        )
    if wanted.comment != has.comment:
        yield found(
            FindingKind.COMMENT,
            table=actual.name,
            object=wanted.name,
            expected=wanted.comment,
            actual=has.comment,
            repair=(sql.comment(f"INDEX {sql.quoted(wanted.name)}", wanted.comment),),
        )


def _parts(wanted: Index, has: Index) -> Iterator[tuple[FindingKind, str | None, str | None]]:
    """What differs: (kind, expected, actual) for each part."""
    if wanted.method != has.method:
        yield FindingKind.INDEX_METHOD, wanted.method, has.method
    if _uniqueness(wanted) != _uniqueness(has):
        yield FindingKind.INDEX_UNIQUENESS, _uniqueness(wanted), _uniqueness(has)
    texts = [key.text for key in wanted.keys], [key.text for key in has.keys]
    if not same(", ".join(texts[0]), ", ".join(texts[1])):
        by_expression = any(key.is_expression for key in (*wanted.keys, *has.keys))
        kind = FindingKind.INDEX_EXPRESSION if by_expression else FindingKind.INDEX_COLUMNS
        yield kind, ", ".join(texts[0]), ", ".join(texts[1])
    else:
        for kind, part in (
            (FindingKind.INDEX_ORDER, "order"),
            (FindingKind.INDEX_OPERATOR_CLASS, "operator_class"),
            (FindingKind.INDEX_COLLATION, "collation"),
        ):
            expected, is_now = (
                ", ".join(f"{key.text} {getattr(key, part) or ''}".strip() for key in index.keys)
                for index in (wanted, has)
            )
            if not same(expected, is_now):
                yield kind, expected, is_now
    if wanted.included != has.included:
        yield (
            FindingKind.INDEX_INCLUDED_COLUMNS,
            ", ".join(wanted.included) or None,
            ", ".join(has.included) or None,
        )
    if not same(wanted.predicate, has.predicate):
        yield FindingKind.INDEX_PREDICATE, wanted.predicate, has.predicate


def _uniqueness(index: Index) -> str:
    if not index.unique:
        return "not unique"
    return "unique, NULLs not distinct" if index.nulls_not_distinct else "unique"
