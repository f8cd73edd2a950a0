"""What somebody wishes to undo, against what is on disk and in the database: the steps, or why not.

Reads the files of the migrations, ``django_migrations`` and, for a release, the history.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.apps import apps as installed
from django.db.migrations.exceptions import (
    BadMigrationError,
    CircularDependencyError,
    InconsistentMigrationHistory,
    NodeNotFoundError,
)
from django.db.migrations.loader import MigrationLoader

from hodei.schema.errors import SchemaError
from hodei.schema.results import MigrationKey
from hodei.schema.rollback import releases
from hodei.schema.rollback.targets import (
    After,
    Ground,
    Last,
    Since,
    Wish,
    beyond,
    closed,
    last,
    newest_first,
    reason,
)
from hodei.schema.status import MigrationGraphBroken, Record, in_utc
from hodei.schema.suggestions import not_found

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.migrations import Migration


class NoSuchTarget(SchemaError):  # noqa: N818  (it reads as the fact it states)
    """There is nothing of that name to go back to."""

    exit_code = 2


class NotOurs(SchemaError):  # noqa: N818
    """What would be undone belongs to somebody else's app, and nobody has named it."""


class OutOfSight(SchemaError):  # noqa: N818
    """What would have to be undone is not on disk, or not to be told apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One migration to undo."""

    migration: Migration
    #: What it depends on and therefore goes with; None where it was chosen itself.
    depends_on: MigrationKey | None = None
    #: Chosen by the date in ``django_migrations`` alone: others applied it.
    by_date: bool = False

    @property
    def key(self) -> MigrationKey:
        return self.migration.app_label, self.migration.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What to undo, in that order, and what there is to say about it in full sentences."""

    loader: MigrationLoader
    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[MigrationKey, ...]:
        return tuple(step.key for step in self.steps)


def choose(connection: BaseDatabaseWrapper, wish: Wish) -> Choice:
    """Raises NoSuchTarget, NotOurs, OutOfSight and MigrationGraphBroken."""
    records = _Records(_load(connection))
    notes: tuple[str, ...] = ()
    by_date: Collection[MigrationKey] = ()
    match wish:
        case Last():
            chosen = _last(records, wish.steps)
        case After():
            chosen = beyond(records.ground, wish.app, _target(records, wish))
        case Since():
            found, notes = _since(records, releases.read_events(connection), wish.release)
            chosen, by_date = found.since, found.by_date
    undone = closed(records.ground, chosen)
    if isinstance(wish, Last):
        _refuse_what_is_not_ours(records, undone)
    hidden = _hidden(records, undone)
    steps = tuple(
        Step(
            migration=records.loader.graph.nodes[key],
            depends_on=reason(records.ground, key, chosen=chosen, undone=undone),
            by_date=key in by_date,
        )
        for key in newest_first(records.ground, undone)
    )
    return Choice(loader=records.loader, steps=steps, notes=(*notes, *hidden))


def _load(connection: BaseDatabaseWrapper) -> MigrationLoader:
    try:
        loader = MigrationLoader(connection, ignore_no_migrations=True)
        # Not here: several last migrations. The way back may be what leads out of that.
        loader.check_consistent_history(connection)
    except (BadMigrationError, CircularDependencyError, NodeNotFoundError) as error:
        raise MigrationGraphBroken(
            f"The migrations on disk make no graph: {str(error).rstrip('.')}. "
            "Correct the dependencies, or bring the missing file back."
        ) from error
    except InconsistentMigrationHistory as error:
        raise MigrationGraphBroken(
            f"The records contradict the files: {str(error).rstrip('.')}. See schema_status."
        ) from error
    return loader


class _Records:
    """The graph and the rows of ``django_migrations``, brought together."""

    def __init__(self, loader: MigrationLoader) -> None:
        self.loader = loader
        self.replaces: Mapping[MigrationKey, Sequence[MigrationKey]] = {
            key: tuple(found.replaces) for key, found in loader.replacements.items()
        }
        self.applied = {
            key: self._record(key) for key in loader.applied_migrations if key in loader.graph.nodes
        }
        self.ground = Ground(
            parents={
                key: [parent.key for parent in loader.graph.node_map[key].parents]
                for key in loader.graph.nodes
            },
            applied={key: record.id for key, record in self.applied.items()},
        )

    @property
    def unknown(self) -> dict[MigrationKey, Record]:
        """Recorded, not on disk, and not replaced by what is."""
        known = set(self.loader.disk_migrations).union(*self.replaces.values())
        return {
            key: self._record(key) for key in self.loader.applied_migrations if key not in known
        }

    def names(self, app: str) -> list[str]:
        return [name for label, name in self.loader.graph.nodes if label == app]

    def _record(self, key: MigrationKey) -> Record:
        """Of a replacement, when the last of the replaced ones was applied: its own row only says
        that Django noticed."""
        recorded = self.loader.applied_migrations
        inner = [self._record(part) for part in self.replaces.get(key, ()) if part in recorded]
        if inner:
            return max(inner)
        row: Any = recorded[key]
        return Record(row.id, in_utc(row.applied))


def _last(records: _Records, steps: int) -> set[MigrationKey]:
    if steps < 1:
        raise NoSuchTarget(f"{steps} is no number of steps; it is 1 or more.")
    if steps > 1 and steps > len(records.applied):
        raise NoSuchTarget(
            f"There are only {len(records.applied)} applied migrations, and {steps} cannot be "
            "undone. See schema_status."
        )
    newest = max(records.applied.values(), default=Record(0, datetime.min))  # noqa: DTZ901
    for key, record in records.unknown.items():
        if record.id > newest.id:
            raise OutOfSight(
                f"The migration applied last is {_dotted(key)}, and it is not on disk: newer code "
                "applied it, or its file was removed. Undo it with the code that has it, or name "
                "what to go back to: schema_rollback APP NAME."
            )
    return last(records.ground, steps)


def _target(records: _Records, wish: After) -> MigrationKey | None:
    loader, app, name = records.loader, wish.app, wish.name
    if app not in loader.migrated_apps:
        if app in loader.unmigrated_apps:
            raise NoSuchTarget(f"App {app!r} has no migrations.")
        raise NoSuchTarget(not_found("app", app, loader.migrated_apps))
    if name == "zero":
        return None
    names = records.names(app)
    found = [name] if name in names else [known for known in names if known.startswith(name)]
    if not found:
        for key, parts in records.replaces.items():
            if key in loader.graph.nodes and any(
                part[0] == app and part[1].startswith(name) for part in parts
            ):
                raise NoSuchTarget(
                    f"Migration {name!r} of {app} is inside of {key[1]}, which replaces it and can "
                    f"only be undone whole. Go back to {key[1]}, or to what is before it."
                )
        raise NoSuchTarget(not_found(f"migration of {app}", name, names))
    if len(found) > 1:
        raise NoSuchTarget(
            f"Several migrations of {app} begin with {name!r}: {', '.join(sorted(found))}. "
            "Give more of the name."
        )
    target = app, found[0]
    if target not in records.applied:
        applied = [key[1] for key in records.applied if key[0] == app]
        there = f"there are: {', '.join(sorted(applied))}" if applied else "none of this app is"
        raise NoSuchTarget(
            f"Migration {_dotted(target)} is not applied, so there is no way back to it; {there}."
        )
    return target


def _since(
    records: _Records, events: Sequence[releases.Event], release: str
) -> tuple[releases.Difference, tuple[str, ...]]:
    moment = releases.end_of(events, release)
    if moment is None:
        known = releases.labels(events)
        if not known:
            raise NoSuchTarget(
                f"There is no release {release!r}: no run in the history has a label. Set "
                "HODEI_SCHEMA_RELEASE, so that the next ones do."
            )
        raise NoSuchTarget(
            f"There is no release {release!r} in the history; known are, the latest first: "
            f"{', '.join(reversed(known))}. One that had nothing to migrate leaves no trace."
        )
    found = releases.difference(
        events,
        moment,
        applied={key: record.applied_at for key, record in records.applied.items()},
        replaces=records.replaces,
        recorded=records.loader.applied_migrations,
    )
    if found.in_between:
        raise OutOfSight(
            f"Release {release!r} lies inside of {_list(found.in_between)}, which replaces several "
            "migrations of which only some were applied then, and can only be undone whole. Name "
            "what to go back to: schema_rollback APP NAME."
        )
    late = [
        key
        for key, record in records.unknown.items()
        if _is_new(events, moment, key, record.applied_at)
    ]
    if late:
        raise OutOfSight(
            f"Applied since release {release!r} and not on disk: {_list(late)}. Undo them with the "
            "code that has them."
        )
    notes = []
    if found.missing:
        notes.append(
            f"Applied in release {release!r} and not any more: {_list(found.missing)}. A way back "
            "applies nothing; the code of that release does, with migrate."
        )
    if found.by_date:
        notes.append(
            f"Applied by others, without a trace in the history: {_list(found.by_date)}. By the "
            f"dates in django_migrations that was after release {release!r}."
        )
    return found, tuple(notes)


def _is_new(
    events: Sequence[releases.Event], moment: releases.Moment, key: MigrationKey, at: datetime
) -> bool:
    found = releases.difference(events, moment, applied={key: at}, replaces={}, recorded=())
    return bool(found.since)


def _refuse_what_is_not_ours(records: _Records, undone: Collection[MigrationKey]) -> None:
    for key in newest_first(records.ground, undone):
        config = installed.app_configs.get(key[0])
        if not getattr(config, "schema_owned", False):
            before = [
                parent[1] for parent in records.ground.parents[key] if parent[0] == key[0]
            ] or ["zero"]
            raise NotOurs(
                f"The way back begins with {_dotted(key)}, and app {key[0]} does not say that its "
                "schema is this project's own (schema_owned in its AppConfig). If it is meant, "
                f"name it: schema_rollback {key[0]} {min(before)}."
            )


def _hidden(records: _Records, undone: Collection[MigrationKey]) -> list[str]:
    """What may depend on the steps and cannot be seen: of an app that is there, a refusal."""
    oldest = min((records.applied[key].id for key in undone), default=0)
    later = [key for key, record in records.unknown.items() if undone and record.id > oldest]
    there = [key for key in later if key[0] in records.loader.migrated_apps]
    if there:
        raise OutOfSight(
            f"Applied later than what would be undone, and not on disk: {_list(there)}. It may "
            "depend on it. Go back with the code that has it."
        )
    if not later:
        return []
    text = (
        f"Recorded later, of an app that is not installed: {_list(later)}. Whether it depends on "
        "what is undone cannot be seen."
    )
    return [text]


def _dotted(key: MigrationKey) -> str:
    return ".".join(key)


def _list(keys: Collection[MigrationKey]) -> str:
    return ", ".join(sorted(map(_dotted, keys)))
