"""Pure: columns of one table, and the sequences that number them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from hodei.schema.catalog.model import Catalog, Column, Relation, Sequence
from hodei.schema.drift import statements as sql
from hodei.schema.drift.canonical import same
from hodei.schema.drift.wording import found
from hodei.schema.results import Finding, FindingKind

_NEXT = re.compile(r"^nextval\('(.+)'::regclass\)$")


def missing_columns(expected: Relation, actual: Relation, wanted: Catalog) -> Iterator[Finding]:
    there = {column.name for column in actual.columns}
    for column in expected.columns:
        if column.name not in there:
            made = portable(column, expected.name, wanted)
            yield found(
                FindingKind.MISSING_COLUMN,
                table=expected.name,
                object=column.name,
                expected=sql.column(column),
                repair=sql.add_column(actual, made),
            )


def unexpected_columns(expected: Relation, actual: Relation) -> Iterator[Finding]:
    wanted = {column.name for column in expected.columns}
    for column in actual.columns:
        if column.name not in wanted:
            yield found(
                FindingKind.UNEXPECTED_COLUMN,
                table=actual.name,
                object=column.name,
                actual=sql.column(column),
                repair=(sql.alter(actual, f"DROP COLUMN {sql.quoted(column.name)}"),),
                remark="Dropping it loses what it holds.",
            )


def changed_columns(
    expected: Relation, actual: Relation, wanted: Catalog, there: Catalog
) -> Iterator[Finding]:
    by_name = {column.name: column for column in actual.columns}
    for column in expected.columns:
        if column.name in by_name:
            comparison = _Comparison(expected, actual, wanted, there)
            yield from comparison.findings(column, by_name[column.name])


class _Comparison:
    """One column of one table on both sides."""

    def __init__(
        self, expected: Relation, actual: Relation, wanted: Catalog, there: Catalog
    ) -> None:
        self.expected = expected
        self.actual = actual
        self.wanted = wanted
        self.there = there

    def findings(self, expected: Column, actual: Column) -> Iterator[Finding]:
        table = self.expected.name
        if expected.generated_kind != actual.generated_kind or not same(
            expected.generated, actual.generated
        ):
            yield self._generated(expected, actual)
            return
        if expected.type != actual.type:
            yield found(
                FindingKind.COLUMN_TYPE,
                table=table,
                object=expected.name,
                expected=expected.type,
                actual=actual.type,
                repair=self._retype(expected, actual),
            )
        if expected.collation != actual.collation:
            yield found(
                FindingKind.COLLATION,
                table=table,
                object=expected.name,
                expected=expected.collation or "default",
                actual=actual.collation or "default",
                repair=self._retype(expected, actual),
            )
        if expected.nullable != actual.nullable:
            yield found(
                FindingKind.NULLABILITY,
                table=table,
                object=expected.name,
                expected="NULL" if expected.nullable else "NOT NULL",
                actual="NULL" if actual.nullable else "NOT NULL",
                repair=(
                    self._alter(expected, f"{'DROP' if expected.nullable else 'SET'} NOT NULL"),
                ),
            )
        yield from self._defaults(expected, actual)

    def _alter(self, column: Column, action: str) -> str:
        return sql.alter(self.actual, f"ALTER COLUMN {sql.quoted(column.name)} {action}")

    def _retype(self, expected: Column, actual: Column) -> tuple[str, ...]:
        collation = ""
        if expected.collation != actual.collation:
            collation = f" COLLATE {expected.collation or sql.quoted('default')}"
        cast = f" USING {sql.quoted(expected.name)}::{expected.type}"
        retype = self._alter(expected, f"TYPE {expected.type}{collation}{cast}")
        if actual.default is None or numbering(actual, self.actual.name, self.there):
            return (retype,)
        # A default is converted with its column, and would read otherwise than it was written.
        again = (
            (self._alter(expected, f"SET DEFAULT {expected.default}"),)
            if expected.default is not None
            else ()
        )
        return (self._alter(expected, "DROP DEFAULT"), retype, *again)

    def _generated(self, expected: Column, actual: Column) -> Finding:
        """PostgreSQL makes no column generated that is not, so it is made anew, with all on it."""
        repair = [
            sql.alter(self.actual, f"DROP COLUMN {sql.quoted(expected.name)}"),
            *sql.add_column(self.actual, portable(expected, self.expected.name, self.wanted)),
        ]
        word = re.compile(rf"(?<!\w){re.escape(expected.name)}(?!\w)")
        for constraint in self.expected.constraints:
            if expected.name in constraint.columns:
                repair.extend(sql.add_constraint(self.actual, constraint))
        for index in self.expected.indexes:
            if word.search(index.definition.partition(" USING ")[2]):
                repair.extend(sql.create_index(self.actual, index, if_missing=True))
        return found(
            FindingKind.GENERATED,
            table=self.expected.name,
            object=expected.name,
            expected=_generation(expected),
            actual=_generation(actual),
            repair=tuple(repair),
        )

    def _defaults(self, expected: Column, actual: Column) -> Iterator[Finding]:
        wanted = numbering(expected, self.expected.name, self.wanted)
        has = numbering(actual, self.actual.name, self.there)
        if wanted != has and not wanted and expected.default == actual.default:
            return  # the sequence is one of its own: that it is owned here is told of it
        if wanted != has:
            yield self._numbering(expected, actual, wanted, has)
        elif wanted is not None:
            yield from self._sequences(expected, actual)
        elif not same(expected.default, actual.default):
            action = (
                "DROP DEFAULT" if expected.default is None else f"SET DEFAULT {expected.default}"
            )
            yield found(
                FindingKind.DEFAULT,
                table=self.expected.name,
                object=expected.name,
                expected=expected.default,
                actual=actual.default,
                repair=(self._alter(expected, action),),
            )

    def _numbering(
        self, expected: Column, actual: Column, wanted: str | None, has: str | None
    ) -> Finding:
        sequence = _named(actual.default)
        if wanted and not has and sequence and sequence in self.there.sequences:
            return found(
                FindingKind.SEQUENCE_OWNERSHIP,
                table=self.expected.name,
                object=expected.name,
                expected=f"numbered by a sequence of its own, {wanted}",
                actual=f"numbered by {sequence}, which does not belong to it",
                repair=(sql.owned_by(sequence, (self.actual.name, actual.name)),),
            )
        owned = _owned(actual, self.actual.name, self.there)
        repair: list[str] = []
        if actual.identity and not wanted:
            repair.append(self._alter(actual, "DROP IDENTITY"))
        elif actual.identity:
            repair.append(self._alter(actual, f"SET GENERATED {wanted}"))
        elif wanted and owned and not actual.default and wanted == "BY DEFAULT":
            repair.append(
                self._alter(actual, f"SET DEFAULT nextval({sql.literal(sql.quoted(owned.name))})")
            )
        else:
            if actual.default is not None:
                repair.append(self._alter(actual, "DROP DEFAULT"))
            if owned and owned.name not in self.wanted.sequences:
                repair.append(f"DROP SEQUENCE {sql.quoted(owned.name)}")
            if wanted:
                repair.extend(self._identity(expected, actual, wanted))
        if not wanted and expected.default is not None:
            repair.append(self._alter(expected, f"SET DEFAULT {expected.default}"))
        return found(
            FindingKind.IDENTITY,
            table=self.expected.name,
            object=expected.name,
            expected=f"GENERATED {wanted} AS IDENTITY" if wanted else expected.default,
            actual=f"GENERATED {has} AS IDENTITY" if has else actual.default,
            repair=tuple(repair),
        )

    def _identity(self, expected: Column, actual: Column, wanted: str) -> Iterator[str]:
        table, column = sql.quoted(self.actual.name), sql.quoted(actual.name)
        if actual.nullable:
            yield self._alter(actual, "SET NOT NULL")
        sequence = _owned(expected, self.expected.name, self.wanted)
        named = f" (SEQUENCE NAME {sql.quoted(sequence.name)})" if sequence else ""
        yield self._alter(actual, f"ADD GENERATED {wanted} AS IDENTITY{named}")
        yield (
            f"SELECT setval(pg_get_serial_sequence({sql.literal(table)}, "
            f"{sql.literal(actual.name)}), coalesce(max({column}), 0) + 1, false) FROM {table}"
        )

    def _sequences(self, expected: Column, actual: Column) -> Iterator[Finding]:
        wanted = _owned(expected, self.expected.name, self.wanted)
        has = _owned(actual, self.actual.name, self.there)
        if wanted and has:
            yield from compare_sequences(wanted, has, self.expected.name)


def compare_sequences(
    expected: Sequence, actual: Sequence, table: str | None = None
) -> Iterator[Finding]:
    name = actual.name
    if name != expected.name:
        yield found(
            FindingKind.RENAMED,
            table=table,
            object=name,
            expected=expected.name,
            actual=name,
            repair=(f"ALTER SEQUENCE {sql.quoted(name)} RENAME TO {sql.quoted(expected.name)}",),
        )
        name = expected.name
    body = sql.sequence_body(expected)
    if body != sql.sequence_body(actual):
        yield found(
            FindingKind.CHANGED_SEQUENCE,
            table=table,
            object=name,
            expected=body,
            actual=sql.sequence_body(actual),
            repair=(f"ALTER SEQUENCE {sql.quoted(name)} {body}",),
        )


def numbering(column: Column, table: str, catalog: Catalog) -> str | None:
    """How a column gets numbers: "ALWAYS", "BY DEFAULT", or None.

    Serial is BY DEFAULT: a default from a sequence that belongs to the column, as Django made it
    before 4.1, does what an identity does.
    """
    if column.identity:
        return column.identity
    sequence = catalog.sequences.get(_named(column.default) or "")
    return "BY DEFAULT" if sequence and sequence.owned_by == (table, column.name) else None


def _named(default: str | None) -> str | None:
    match = _NEXT.match(default or "")
    if not match:
        return None
    name = match[1].replace("''", "'")
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def _owned(column: Column, table: str, catalog: Catalog) -> Sequence | None:
    return catalog.owned.get((table, column.name))


def portable(column: Column, table: str, catalog: Catalog) -> Column:
    """As it can be added to a table: a serial needs a sequence, an identity brings its own."""
    how = numbering(column, table, catalog)
    return replace(column, identity=how, default=None) if how else column


def _generation(column: Column) -> str | None:
    if column.generated is None:
        return None
    return f"({column.generated}) {column.generated_kind}"
