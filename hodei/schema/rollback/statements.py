"""The SQL of the way back, step by step, and the rules of the guards on it. None of it is run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.migrations.state import ProjectState

from hodei.schema.operations import MoveRows, RefuseRows, Rule
from hodei.schema.plan.actions import Analysis
from hodei.schema.plan.sql import collect, description, is_reversible, parts, take
from hodei.schema.plan.statements import analyse
from hodei.schema.results import MigrationKey

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.migrations import Migration
    from django.db.migrations.loader import MigrationLoader
    from django.db.migrations.operations.base import Operation

    from hodei.schema.rollback.choice import Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """One operation of one step, as it would be undone."""

    step: MigrationKey
    #: Whether it runs in a transaction.
    atomic: bool
    operation: Operation
    analyses: tuple[Analysis, ...] = ()
    #: What could not be told before, in full sentences.
    unknown: tuple[str, ...] = ()
    refused: tuple[Rule, ...] = ()
    moved: tuple[Rule, ...] = ()

    @property
    def reversible(self) -> bool:
        return is_reversible(self.operation)

    @property
    def description(self) -> str:
        return description(self.operation)


def in_order(loader: MigrationLoader, steps: Sequence[Migration]) -> list[Migration]:
    """The applied migrations in an order in which they can have been applied, the steps, which are
    to be undone from the first to the last, at its end.

    So the state before each step is exactly what is left when those before it are undone. Django's
    own order may put a step behind one that is undone earlier.
    """
    order: dict[MigrationKey, None] = {}
    for leaf in loader.graph.leaf_nodes():
        order.update(dict.fromkeys(loader.graph.forwards_plan(leaf)))
    going = set(steps)
    nodes = (loader.graph.nodes[key] for key in order if key in loader.applied_migrations)
    return [*(node for node in nodes if node not in going), *reversed(steps)]


def undo(connection: BaseDatabaseWrapper, choice: Choice) -> list[Undone]:
    """Everything that the steps would do, in that order. ``connection`` can only read."""
    migrations = [step.migration for step in choice.steps]
    states = _states(choice.loader, migrations)
    return [
        undone
        for migration in migrations
        for undone in _step(connection, migration, states[migration])
    ]


def _states(loader: MigrationLoader, steps: Sequence[Migration]) -> dict[Migration, ProjectState]:
    """The state before each step, as Django's executor makes them."""
    found: dict[Migration, ProjectState] = {}
    going = set(steps)
    state = ProjectState(real_apps=loader.unmigrated_apps)
    for migration in in_order(loader, steps):
        if migration in going:
            if not found:
                _ = state.apps  # rendered once; what follows copies it
            found[migration] = state
            state = migration.mutate_state(state, preserve=True)
        else:
            migration.mutate_state(state, preserve=False)
    return found


def _step(
    connection: BaseDatabaseWrapper, migration: Migration, before: ProjectState
) -> Iterator[Undone]:
    app, key = migration.app_label, (migration.app_label, migration.name)
    ways = []
    state = before
    for operation in migration.operations:
        reached = state.clone()
        operation.state_forwards(app, reached)
        ways.append((operation, state, reached))
        state = reached
    # Not atomic: it would open a transaction for nothing, and CONCURRENTLY refuses to be collected
    # in one.
    with connection.schema_editor(collect_sql=True, atomic=False) as editor:
        for operation, old, new in reversed(ways):
            sql, problems = (
                collect(operation, app, editor, old, new, backwards=True)
                if is_reversible(operation)
                else ([], [])
            )
            analyses = tuple(map(analyse, sql))
            unread = [
                f"What this statement does cannot be told from its text: {_short(statement)}"
                for statement, analysis in zip(sql, analyses, strict=True)
                if not analysis.is_known
            ]
            inside = list(parts(operation))
            yield Undone(
                step=key,
                atomic=bool(migration.atomic or operation.atomic),
                operation=operation,
                analyses=analyses,
                unknown=(*(problem.message for problem in problems), *unread),
                refused=_rules(inside, RefuseRows),
                moved=_rules(inside, MoveRows),
            )
        yield from _deferred(take(editor, run_deferred=True), migration, key)


def _deferred(sql: list[str], migration: Migration, key: MigrationKey) -> Iterator[Undone]:
    """What Django runs at the end of the migration; it belongs to its first operation."""
    if sql:
        yield Undone(
            step=key,
            atomic=migration.atomic,
            operation=migration.operations[0],
            analyses=tuple(map(analyse, sql)),
        )


def _rules(
    operations: Sequence[Operation], kind: type[RefuseRows] | type[MoveRows]
) -> tuple[Rule, ...]:
    return tuple(
        rule for operation in operations if isinstance(operation, kind) for rule in operation.rules
    )


def _short(statement: str) -> str:
    text = " ".join(statement.split())
    return text if len(text) <= 120 else f"{text[:117]}..."
