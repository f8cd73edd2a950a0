"""Compares the baselines with the database as it is, counts rows, and draws up the plan.

In the caller's transaction, whose search path is the schema alone. Nothing is changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hodei.schema import drift
from hodei.schema.adoption.baselines import Baseline, restrict
from hodei.schema.adoption.obstacles import strange_tables, taken_names
from hodei.schema.adoption.plan import AppPlan, Ground, Import, Plan
from hodei.schema.adoption.proofs import Proof, counting, proofs
from hodei.schema.adoption.repairs import Sorted, Step, StepKind, described, sort
from hodei.schema.adoption.variants import OlderShape
from hodei.schema.catalog.inspection import read_catalog
from hodei.schema.catalog.model import Catalog, Relation
from hodei.schema.drift.statements import quoted

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


def draw_up(connection: BaseDatabaseWrapper, schema: str, live: Catalog, ground: Ground) -> Plan:
    """Compare every baseline of the ground with ``live``, the catalog of the schema."""
    apps: list[AppPlan] = []
    obstacles: list[str] = []
    left: list[str] = []
    for one in ground.baselines:
        comparison = Comparison(connection, one, ground.builds[one.app], live)
        strange = list(
            strange_tables(
                one, comparison.expected, comparison.own, live, ground.newest.get(one.app, {})
            )
        )
        obstacles.extend(strange)
        if strange:
            continue
        apps.append(comparison.plan())
        obstacles.extend(taken_names(comparison.found.steps, comparison.expected, live))
        obstacles.extend(comparison.rows_in_the_way())
        left.extend(map(described, comparison.found.left))
    imports, unread = _imports(connection, ground, live)
    ours = {name for catalog in ground.builds.values() for name in catalog.relations}
    histories = {one.history.table for one in imports}
    others = live.relations.keys() - ours - histories - ground.known - set(drift.BOOKKEEPING)
    return Plan(
        database=str(connection.settings_dict["NAME"]),
        schema=schema,
        apps=tuple(apps),
        obstacles=tuple(obstacles),
        imports=tuple(imports),
        left=(*left, *unread),
        others=tuple(sorted(others)),
    )


def read_again(connection: BaseDatabaseWrapper, schema: str, ground: Ground) -> Plan:
    """The plan as of now. The transaction's search path becomes the schema alone."""
    return draw_up(connection, schema, read_catalog(connection, schema), ground)


def remaining(
    connection: BaseDatabaseWrapper, schema: str, one: Baseline, expected: Catalog
) -> list[str]:
    """After all steps: what differs still and should not. Full sentences."""
    live = restrict(read_catalog(connection, schema), expected)
    return [
        step.message
        for step in sort(drift.compare(expected, live), expected, live, one.adoption).steps
    ]


@dataclass(frozen=True, slots=True)
class Shaped:
    """A table in an older shape: the statements that convert it."""

    shape: OlderShape
    statements: tuple[str, ...]


class Comparison:
    """One app's baseline beside what is there."""

    def __init__(
        self, connection: BaseDatabaseWrapper, one: Baseline, expected: Catalog, live: Catalog
    ) -> None:
        self.expected = expected
        self._connection = connection
        self._one = one
        self._shapes: dict[str, Shaped] = {}
        #: The app's tables, as if those in older shapes were converted.
        self.own = self._converted(restrict(live, expected))
        self.found = self._sorted()
        self._readings = dict(self._shown())

    def plan(self) -> AppPlan:
        return AppPlan(
            baseline=self._one,
            found=len(self.own.relations),
            total=len(self.expected.relations),
            steps=tuple(self._steps()),
            unproved=tuple(finding.subject for finding in self.found.unproved),
        )

    def rows_in_the_way(self) -> Iterator[str]:
        """Rows that a repair would stumble over, and of which no rule of the app takes care."""
        adoption = self._one.adoption
        covered = {subject for rule in adoption.rows for subject in rule.covers}
        seen: set[Proof] = set()
        steps = (step.finding for step in self.found.steps)
        findings = [*filter(None, steps), *self.found.unproved]
        for proof in proofs(findings, self.expected, self.own, adoption.relaxed):
            if proof.subject in covered or proof in seen:
                continue
            seen.add(proof)
            number = _count(self._connection, proof.counting(self._readings))
            if number:
                yield proof.told(number)

    def _converted(self, own: Catalog) -> Catalog:
        relations = dict(own.relations)
        for name, actual in own.relations.items():
            shape = _shape_of(actual, self._one)
            if shape is not None:
                statements, relations[name] = shape.convert(actual)
                self._shapes[name] = Shaped(shape, statements)
        return replace(own, relations=relations)

    def _sorted(self) -> Sorted:
        findings = drift.compare(self.expected, self.own)
        return sort(findings, self.expected, self.own, self._one.adoption)

    def _shown(self) -> Iterator[tuple[str, str]]:
        """How a table is read in the baseline's columns while it does not have them."""
        for name, wanted in self.expected.relations.items():
            has = self.own.relations.get(name)
            there = {column.name for column in has.columns} if has else set()
            nothing = {
                column.name: f"NULL::{column.type}"
                for column in wanted.columns
                if column.name not in there
            }
            converted = dict(self._shapes[name].shape.reading) if name in self._shapes else {}
            added = ", ".join(
                f"{expression} AS {quoted(column)}"
                for column, expression in {**nothing, **converted}.items()
            )
            if has is None:
                yield name, f"SELECT {added} WHERE false"
            elif added:
                yield name, f"SELECT *, {added} FROM {quoted(name)}"

    def _steps(self) -> Iterator[Step]:
        for name, shaped in sorted(self._shapes.items()):
            yield Step(
                kind=StepKind.CONVERT,
                subject=name,
                message=f"Table {name} is {shaped.shape.name}: {shaped.shape.becomes}.",
                statements=shaped.statements,
                table=name,
            )
        yield from (step for step in self.found.steps if step.kind is StepKind.ADD)
        for rule in self._one.adoption.rows:
            if rule.table not in self.own.relations:
                continue
            query = counting(rule.table, rule.where, self._readings)
            number = _count(self._connection, query)
            if number:
                yield Step(
                    kind=StepKind.ROWS,
                    subject=rule.table,
                    message=f"{rule.found}: {rule.becomes}.",
                    statements=rule.statements,
                    table=rule.table,
                    count=number,
                )
        yield from (step for step in self.found.steps if step.kind is StepKind.REPAIR)


def _shape_of(actual: Relation, one: Baseline) -> OlderShape | None:
    names = {column.name for column in actual.columns}
    return next(
        (
            shape
            for shape in one.adoption.older_shapes
            if shape.table == actual.name and shape.columns <= names
        ),
        None,
    )


def _imports(
    connection: BaseDatabaseWrapper, ground: Ground, live: Catalog
) -> tuple[list[Import], list[str]]:
    """Other tools' records that can be copied, and what there is to say of those that cannot."""
    found: dict[str, Import] = {}
    unknown: dict[str, str] = {}
    for history in (history for one in ground.baselines for history in one.adoption.histories):
        actual = live.relations.get(history.table)
        if actual is None or history.table in found:
            continue
        has = {column.name: column.type for column in actual.columns}
        if history.columns.items() <= has.items():
            query = f"SELECT count(*) FROM ({history.rows}) AS theirs"
            found[history.table] = Import(history=history, count=_count(connection, query))
        else:
            unknown[history.table] = (
                f"table {history.table}, whose layout is not known, so it is not imported"
            )
    return list(found.values()), [text for name, text in unknown.items() if name not in found]


def _count(connection: BaseDatabaseWrapper, query: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(query)
        (number,) = cursor.fetchone()
    return int(number)
