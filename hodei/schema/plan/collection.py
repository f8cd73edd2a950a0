"""The migrations that ``migrate`` would run, their operations, and the SQL of each (``sql``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import DEFAULT_DB_ALIAS
from django.db.migrations.exceptions import (
    AmbiguityError,
    BadMigrationError,
    CircularDependencyError,
    InconsistentMigrationHistory,
    NodeNotFoundError,
)
from django.db.migrations.executor import MigrationExecutor

from hodei.schema.connection import connection_errors, require_postgresql
from hodei.schema.errors import SchemaError
from hodei.schema.plan.actions import Lock
from hodei.schema.plan.hazards import Code, Hazard, hazards
from hodei.schema.plan.locks import LockMode
from hodei.schema.plan.relations import Relations
from hodei.schema.plan.session import reading
from hodei.schema.plan.sql import collect, description, is_reversible, take
from hodei.schema.plan.statements import analyse
from hodei.schema.plan.tokens import tokens
from hodei.schema.results import MigrationKey
from hodei.schema.status import MigrationGraphBroken
from hodei.schema.suggestions import not_found

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.migrations import Migration
    from django.db.migrations.operations.base import Operation
    from django.db.migrations.state import ProjectState

_AT_THE_END = "At the end of the migration"


class NoPlan(SchemaError):  # noqa: N818  (it reads as the fact it states)
    """``migrate`` would refuse, or was asked for something that is not there."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedTable:
    """A table lock, and what is known of the table."""

    table: str
    mode: LockMode
    is_new: bool
    #: An estimate; None where nobody has counted yet, or the table cannot be seen.
    rows: int | None
    size_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStatement:
    """One statement of SQL."""

    sql: str
    #: Of each table the strongest lock, strongest first.
    locks: tuple[LockedTable, ...]
    hazards: tuple[Hazard, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedOperation:
    """One operation of a migration; its hazards are those that no statement shows."""

    description: str
    statements: tuple[PlannedStatement, ...]
    hazards: tuple[Hazard, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedMigration:
    """One migration that is pending."""

    app: str
    name: str
    #: Whether it runs in one transaction.
    atomic: bool
    operations: tuple[PlannedOperation, ...]

    @property
    def key(self) -> MigrationKey:
        return self.app, self.name

    @property
    def statements(self) -> list[PlannedStatement]:
        return [statement for operation in self.operations for statement in operation.statements]

    @property
    def hazards(self) -> list[Hazard]:
        """All of them, in the order of the operations."""
        return [
            hazard
            for operation in self.operations
            for hazard in (
                *operation.hazards,
                *(found for statement in operation.statements for found in statement.hazards),
            )
        ]


def read_plan(
    using: str = DEFAULT_DB_ALIAS, app: str | None = None, name: str | None = None
) -> list[PlannedMigration]:
    """Return what ``migrate [app] [name]`` would apply, in order. Runs none of it.

    Takes no lock but those of reading catalogs, and waits for none longer than two seconds. Raises
    NoPlan, MigrationGraphBroken, ConnectionFailed and EngineNotSupported.
    """
    require_postgresql(using)
    with connection_errors(using), reading(using) as connection:
        executor = _executor(connection)
        targets = _targets(executor, app, name)
        plan = executor.migration_plan(targets)
        if any(backwards for _migration, backwards in plan):
            first = plan[0][0]
            raise NoPlan(
                f"Going there would undo migrations that are applied, {first.app_label}."
                f"{first.name} first; this plan is of what is pending. Name a later migration."
            )
        state = executor.loader.project_state(
            [
                key
                for key in executor.loader.applied_migrations
                if key in executor.loader.graph.nodes
            ]
        )
        relations = Relations(connection)
        found = []
        for migration, _backwards in plan:
            state = state.clone()
            found.append(_planned(migration, state, connection, relations))
        return found


def _executor(connection: BaseDatabaseWrapper) -> MigrationExecutor:
    try:
        executor = MigrationExecutor(connection)
        executor.loader.check_consistent_history(connection)
    except (BadMigrationError, CircularDependencyError, NodeNotFoundError) as error:
        raise MigrationGraphBroken(
            f"The migrations on disk make no graph: {str(error).rstrip('.')}. "
            "Correct the dependencies, or bring the missing file back."
        ) from error
    except InconsistentMigrationHistory as error:
        raise NoPlan(
            f"migrate would refuse: {str(error).rstrip('.')}. See schema_status."
        ) from error
    conflicts = executor.loader.detect_conflicts()
    if conflicts:
        told = "; ".join(f"{app}: {', '.join(names)}" for app, names in sorted(conflicts.items()))
        raise NoPlan(
            f"migrate would refuse, since there are several last migrations ({told}). "
            "Join them with makemigrations --merge."
        )
    return executor


def _targets(
    executor: MigrationExecutor, app: str | None, name: str | None
) -> list[tuple[str, str | None]]:
    loader = executor.loader
    if app is None:
        return list(loader.graph.leaf_nodes())
    if app not in loader.migrated_apps:
        if app in loader.unmigrated_apps:
            raise NoPlan(f"App {app!r} has no migrations.")
        raise NoPlan(not_found("app", app, loader.migrated_apps))
    if name is None:
        return [key for key in loader.graph.leaf_nodes() if key[0] == app]
    if name == "zero":
        return [(app, None)]
    try:
        migration = loader.get_migration_by_prefix(app, name)
    except AmbiguityError as error:
        raise NoPlan(f"{error}. Give more of the name.") from error
    except KeyError as error:
        names = [found for label, found in loader.disk_migrations if label == app]
        raise NoPlan(not_found(f"migration of {app}", name, names)) from error
    key = app, migration.name
    if key not in loader.graph.nodes and key in loader.replacements:
        key = loader.replacements[key].replaces[-1]
    return [key]


def _planned(
    migration: Migration, state: ProjectState, connection: Any, relations: Relations
) -> PlannedMigration:
    operations = []
    # Not atomic: it would open a transaction for nothing, and CONCURRENTLY refuses to be collected
    # in one.
    with connection.schema_editor(collect_sql=True, atomic=False) as editor:
        for operation in migration.operations:
            before = state.clone()
            operation.state_forwards(migration.app_label, state)
            sql, problems = collect(operation, migration.app_label, editor, before, state)
            statements = _statements(
                sql, relations, atomic=bool(migration.atomic or operation.atomic)
            )
            operations.append(
                PlannedOperation(
                    description=description(operation),
                    statements=statements,
                    hazards=(*_irreversible(operation), *problems),
                )
            )
        last = take(editor, run_deferred=True)
        if last:
            statements = _statements(last, relations, atomic=migration.atomic)
            operations.append(
                PlannedOperation(description=_AT_THE_END, statements=statements, hazards=())
            )
    return PlannedMigration(
        app=migration.app_label,
        name=migration.name,
        atomic=migration.atomic,
        operations=tuple(operations),
    )


def _irreversible(operation: Operation) -> list[Hazard]:
    if is_reversible(operation):
        return []
    return [
        Hazard(
            code=Code.IRREVERSIBLE,
            table=None,
            message="This cannot be undone: migrate refuses the way back. Give it a reverse.",
        )
    ]


def _statements(
    sql: Sequence[str], relations: Relations, *, atomic: bool
) -> tuple[PlannedStatement, ...]:
    found = []
    for statement in sql:
        if not tokens(statement):
            continue
        analysis = analyse(statement)
        locks = strongest_locks(analysis.locks, relations)
        found.append(
            PlannedStatement(
                sql=statement,
                locks=locks,
                hazards=tuple(hazards(analysis, relations, atomic=atomic)),
            )
        )
    return tuple(found)


def strongest_locks(locks: Sequence[Lock], relations: Relations) -> tuple[LockedTable, ...]:
    """Of each table that the locks reach, the strongest; strongest first."""
    strongest: dict[str, LockedTable] = {}
    for lock in locks:
        for name in relations.reached(lock):
            table = relations.table(name)
            if table is None:
                continue  # a view of the plan's own, a WITH query, or nothing that exists
            known = strongest.get(table.name)
            if known is None or known.mode.strength < lock.mode.strength:
                strongest[table.name] = LockedTable(
                    table=table.name,
                    mode=lock.mode,
                    is_new=table.is_new,
                    rows=table.rows,
                    size_bytes=table.size_bytes,
                )
    return tuple(
        sorted(strongest.values(), key=lambda locked: (-locked.mode.strength, locked.table))
    )
