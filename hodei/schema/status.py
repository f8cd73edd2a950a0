"""Which migrations there are, and the state of each: the files against ``django_migrations``.

Read-only: where the table does not exist yet, everything is pending and nothing is created.
Replaced (squashed) migrations are Django's loader's business; what it keeps in its graph is what
``migrate`` would run, and therefore what is expected here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple

from django.db import DEFAULT_DB_ALIAS
from django.db.migrations.exceptions import (
    BadMigrationError,
    CircularDependencyError,
    NodeNotFoundError,
)
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from hodei.schema.connection import connection_errors, require_postgresql
from hodei.schema.errors import SchemaError
from hodei.schema.results import (
    Finding,
    FindingKind,
    MigrationKey,
    SchemaValidationResult,
    Severity,
)


class MigrationGraphBroken(SchemaError):  # noqa: N818  (it reads as the fact it states)
    """The files on disk make no graph, so there is nothing to compare the database with."""

    exit_code = 2


class MigrationTableHidden(SchemaError):  # noqa: N818
    """The role sees no schema, so an empty answer would say nothing about the database."""

    exit_code = 3


class MigrationState(StrEnum):
    """How a migration on disk and the database's record of it agree."""

    #: On disk and recorded, itself or through every migration it replaces.
    APPLIED = "applied"
    #: On disk, not recorded: ``migrate`` would run it.
    PENDING = "pending"
    #: Recorded, not on disk: newer code wrote it, or its file or its app is gone.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationStatus:
    """One migration and its state."""

    app: str
    name: str
    state: MigrationState
    #: In UTC; None while it is pending. For a replacement, when the last of the replaced ones was
    #: applied: that changed the tables, while its own record only says that Django noticed.
    applied_at: datetime | None
    #: ``django_migrations.id`` of the same record: the order in which migrations were applied.
    record_id: int | None

    @property
    def key(self) -> MigrationKey:
        return self.app, self.name


class Record(NamedTuple):
    """What ``django_migrations`` says of a migration; they sort as they were applied."""

    id: int
    applied_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaStatus:
    """All migrations, apps by name, inside an app as the graph orders them, unknown ones last."""

    migrations: tuple[MigrationStatus, ...]
    #: Conflicts and broken order; unknown migrations are found in ``migrations``.
    problems: tuple[Finding, ...]
    #: The labels one may ask about: installed, or recorded in the database.
    app_labels: frozenset[str]

    def validation(self, apps: Sequence[str] = ()) -> SchemaValidationResult:
        """Judge it, or only the part that belongs to these apps."""
        chosen = [status for status in self.migrations if not apps or status.app in apps]

        def keys(*states: MigrationState) -> tuple[MigrationKey, ...]:
            return tuple(status.key for status in chosen if status.state in states)

        problems = [
            problem
            for problem in self.problems
            if not apps or problem.subject.partition(".")[0] in apps
        ]
        unknown = [_unknown(*key) for key in keys(MigrationState.UNKNOWN)]
        last = max(chosen, key=lambda status: status.record_id or 0, default=None)
        return SchemaValidationResult(
            applied_migrations=keys(MigrationState.APPLIED),
            expected_migrations=keys(MigrationState.APPLIED, MigrationState.PENDING),
            pending_migrations=keys(MigrationState.PENDING),
            failed_migrations=(),
            last_migration=last.key if last and last.record_id else None,
            findings=(*problems, *unknown),
        )


def read_status(using: str = DEFAULT_DB_ALIAS) -> SchemaStatus:
    """Read files and table. Writes nothing, and takes no lock beyond that of a SELECT.

    Raises ConnectionFailed, EngineNotSupported, MigrationGraphBroken or MigrationTableHidden;
    what a migration's own module raises on import passes.
    """
    connection = require_postgresql(using)
    with connection_errors(using):
        try:
            loader = MigrationLoader(connection, ignore_no_migrations=True)
        except (BadMigrationError, CircularDependencyError, NodeNotFoundError) as error:
            raise MigrationGraphBroken(
                f"The migrations on disk make no graph: {str(error).rstrip('.')}. "
                "Correct the dependencies, or bring the missing file back."
            ) from error
        recorder = MigrationRecorder(connection)
        rows = recorder.applied_migrations()
        if not rows and not recorder.has_table():
            with connection.cursor() as cursor:
                cursor.execute("SELECT current_schema(), current_user")
                schema, role = cursor.fetchone()
            if schema is None:
                raise MigrationTableHidden(
                    f"Role {role!r} can use no schema in its search_path, so django_migrations "
                    "cannot be seen: GRANT USAGE ON SCHEMA to it, or correct its search_path."
                )
    recorded = {key: Record(row.pk, _in_utc(row.applied)) for key, row in rows.items()}
    return SchemaStatus(
        migrations=tuple(_statuses(loader, recorded)),
        problems=(*_conflicts(loader), *_inconsistencies(loader)),
        app_labels=frozenset(
            loader.migrated_apps | loader.unmigrated_apps | {app for app, _ in recorded}
        ),
    )


def _statuses(
    loader: MigrationLoader, recorded: Mapping[MigrationKey, Record]
) -> Iterator[MigrationStatus]:
    replaces = {key: tuple(found.replaces) for key, found in loader.replacements.items()}
    known = set(loader.disk_migrations).union(*replaces.values())
    unknown: dict[str, list[MigrationKey]] = {}
    for key in recorded:
        if key not in known:
            unknown.setdefault(key[0], []).append(key)
    for app in sorted(loader.migrated_apps | unknown.keys()):
        for key in _in_graph_order(loader, app):
            if key in loader.applied_migrations:
                record = _record_of(key, recorded, replaces)
                yield _status(key, MigrationState.APPLIED, record)
            else:
                yield _status(key, MigrationState.PENDING, None)
        for key in sorted(unknown.get(app, ()), key=lambda key: recorded[key]):
            yield _status(key, MigrationState.UNKNOWN, recorded[key])


def _status(key: MigrationKey, state: MigrationState, record: Record | None) -> MigrationStatus:
    return MigrationStatus(
        app=key[0],
        name=key[1],
        state=state,
        applied_at=record.applied_at if record else None,
        record_id=record.id if record else None,
    )


def _in_graph_order(loader: MigrationLoader, app: str) -> list[MigrationKey]:
    order: dict[MigrationKey, None] = {}
    for leaf in loader.graph.leaf_nodes(app):
        order.update(dict.fromkeys(loader.graph.forwards_plan(leaf)))
    return [key for key in order if key[0] == app]


def _record_of(
    key: MigrationKey,
    recorded: Mapping[MigrationKey, Record],
    replaces: Mapping[MigrationKey, Sequence[MigrationKey]],
) -> Record | None:
    found = (_record_of(replaced, recorded, replaces) for replaced in replaces.get(key, ()))
    last = max((record for record in found if record is not None), default=None)
    return last or recorded.get(key)


def _in_utc(instant: datetime) -> datetime:
    # Without USE_TZ Django reads the column as local time.
    aware = timezone.make_aware(instant) if timezone.is_naive(instant) else instant
    return aware.astimezone(UTC)


def _unknown(app: str, name: str) -> Finding:
    return Finding(
        kind=FindingKind.UNKNOWN,
        severity=Severity.WARNING,
        subject=f"{app}.{name}",
        message=(
            f"Migration {app}.{name} is recorded as applied and not on disk. Newer code has run "
            "here, or the file or its app was removed."
        ),
    )


def _conflicts(loader: MigrationLoader) -> Iterator[Finding]:
    for app, names in sorted(loader.detect_conflicts().items()):
        yield Finding(
            kind=FindingKind.CONFLICTING,
            severity=Severity.ERROR,
            subject=app,
            message=(
                f"App {app} has {len(names)} last migrations: {', '.join(names)}. "
                "Join them with makemigrations --merge; until then migrate refuses to run."
            ),
        )


def _inconsistencies(loader: MigrationLoader) -> Iterator[Finding]:
    for key in sorted(loader.applied_migrations.keys() & loader.graph.nodes.keys()):
        for parent in sorted(node.key for node in loader.graph.node_map[key].parents):
            if parent not in loader.applied_migrations:
                yield Finding(
                    kind=FindingKind.INCONSISTENT,
                    severity=Severity.ERROR,
                    subject=".".join(key),
                    message=(
                        f"Migration {'.'.join(key)} is applied and {'.'.join(parent)}, on which "
                        "it depends, is not. Until the records agree, migrate refuses to run."
                    ),
                )
