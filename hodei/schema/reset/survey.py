"""What a reset would drop and build, and every reason not to begin, before anything is touched."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.apps import apps as installed
from django.db import Error
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations import RunSQL, SeparateDatabaseAndState
from django.db.migrations.recorder import MigrationRecorder

from hodei.schema import drift
from hodei.schema.catalog.inspection import read_catalog
from hodei.schema.catalog.model import Catalog
from hodei.schema.graph import conflicts
from hodei.schema.operations import archive_of
from hodei.schema.replay.makers import Found, ObjectKey, objects_of
from hodei.schema.replay.sessions import LOCK_TIMEOUT, never_kept, private_connection, set_timeouts
from hodei.schema.replay.twins import StatementRefused, transactional
from hodei.schema.reset.belongings import Belongings, belongings
from hodei.schema.reset.choice import choose
from hodei.schema.reset.guards import ResetRefused
from hodei.schema.reset.making import Made, who_made_what
from hodei.schema.results import FindingKind, MigrationKey
from hodei.schema.run.failures import is_blocked
from hodei.schema.validation import CatalogBusy

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

_RELATIONS = {"table", "view", "materialized view", "foreign table", "sequence"}
_ARCHIVE_COLUMNS = ["moved_at", "reason", "row_data"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """Two are equal where the same would go and come."""

    #: The name that the server knows it by; what has to be typed.
    database: str
    schema: str
    apps: tuple[str, ...]
    #: The app of each table that goes, by its name; partitions too, but not what they are parts of.
    tables: Mapping[str, str]
    #: Relations that hold no rows of their own: partitioned tables, views, sequences.
    others: tuple[str, ...]
    #: Partitioned tables among them.
    partitioned: tuple[str, ...]
    #: Everything that goes, in words, but for the tables.
    objects: tuple[str, ...]
    #: What drops all of it, in order.
    statements: tuple[str, ...]
    #: Records in ``django_migrations`` that go, as they came.
    recorded: tuple[MigrationKey, ...]
    #: Migrations that are run, in order.
    builds: tuple[MigrationKey, ...]
    #: Why there can be no reset, in full sentences.
    obstacles: tuple[str, ...]
    #: What the migrations will not build again, and what else one should know.
    remarks: tuple[str, ...] = field(default=(), compare=False)


def survey(using: str, labels: Sequence[str] = ()) -> Survey:
    """Look, on a connection of its own; nothing is kept, and no lock is waited for long.

    Raises AppsNotChosen, ResetRefused where a script would end the transaction, BelongingsUnknown,
    and CatalogBusy.
    """
    with private_connection(using) as connection, _busy():
        before = MigrationLoader(connection, ignore_no_migrations=True)
        chosen = choose(labels, before)
        # As it is when none of the chosen is applied: a squashed migration then runs as such.
        after = MigrationLoader(None, ignore_no_migrations=True)
        ending = list(_ending_the_transaction(after, _builds(after, chosen)))
        if ending:
            raise ResetRefused(ending)
        with never_kept(connection):
            schema, live = _live(connection)
        made = who_made_what(connection, before, schema, live)
        with never_kept(connection):
            _live(connection)
            return _look(connection, chosen, before, after, made)


def _live(connection: BaseDatabaseWrapper) -> tuple[str, Catalog]:
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute("SELECT current_schema()")
        (schema,) = cursor.fetchone()
    set_timeouts(connection)
    return schema, read_catalog(connection, schema)


def _look(
    connection: BaseDatabaseWrapper,
    chosen: tuple[str, ...],
    before: MigrationLoader,
    after: MigrationLoader,
    made: Made,
) -> Survey:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database()")
        (database,) = cursor.fetchone()
    there = {one.key: one for one in objects_of(connection, made.schema)}
    owners = _owners(chosen, made)
    goes = belongings(connection, [one for key, one in there.items() if key in owners])
    builds = _builds(after, chosen)
    recorded = _recorded(connection, chosen)
    ours = [one for one in goes.tables if one.schema == made.schema]
    tables = {one.name: owners[one.root.key] for one in ours if one.holds_rows}
    partitioned = tuple(one.name for one in ours if not one.holds_rows)
    return Survey(
        database=database,
        schema=made.schema,
        apps=chosen,
        tables=tables,
        others=(*partitioned, *_relations_without_rows(goes)),
        partitioned=partitioned,
        objects=tuple(str(one.key) for one in goes.objects if one.key.type != "table"),
        statements=goes.statements,
        recorded=recorded,
        builds=tuple(builds),
        obstacles=(
            *_conflicting(after, chosen),
            *_unmet(before, after, chosen, builds),
            *_shared(chosen, made),
            *_of_another_kind(owners, there),
            *_elsewhere(goes, made.schema),
            *_needed(goes),
        ),
        remarks=(
            *_not_built_again(made, tables),
            *_not_on_disk(recorded, after),
            *_leaning(before, chosen),
        ),
    )


@contextmanager
def _busy() -> Iterator[None]:
    try:
        yield
    except Error as error:
        if not is_blocked(error):
            raise
        raise CatalogBusy(
            "The tables cannot be looked at: somebody has held one against readers for more than "
            f"{LOCK_TIMEOUT}. Nothing was changed; see pg_stat_activity, and run again."
        ) from error


def _owners(chosen: Collection[str], made: Made) -> dict[ObjectKey, str]:
    """What the chosen apps own, by what their migrations made, and archives of its rows."""
    owners = {key: app for key, app in made.makers.items() if app in chosen}
    tables = {key.name: app for key, app in owners.items() if key.type == "table"}
    for app in chosen:
        for model in installed.get_app_config(app).get_models(include_auto_created=True):
            tables.setdefault(model._meta.db_table, app)
    for table, app in tables.items():
        key = ObjectKey("table", (archive_of(table),))
        archive = made.live.relations.get(key.name)
        if archive and [one.name for one in archive.columns] == _ARCHIVE_COLUMNS:
            owners.setdefault(key, made.makers.get(key, app))
    return {key: app for key, app in owners.items() if app in chosen}


def _builds(loader: MigrationLoader, chosen: Collection[str]) -> list[MigrationKey]:
    order: dict[MigrationKey, None] = {}
    for leaf in sorted(loader.graph.leaf_nodes()):
        order.update(dict.fromkeys(loader.graph.forwards_plan(leaf)))
    return [key for key in order if key[0] in chosen]


def _recorded(connection: BaseDatabaseWrapper, chosen: Sequence[str]) -> tuple[MigrationKey, ...]:
    recorder = MigrationRecorder(connection)
    if not recorder.has_table():
        return ()
    rows: Any = recorder.migration_qs.filter(app__in=chosen).order_by("id")
    return tuple(rows.values_list("app", "name"))


def _relations_without_rows(goes: Belongings) -> Iterator[str]:
    for one in goes.objects:
        if one.key.type in {"view", "materialized view", "sequence"}:
            yield one.key.name


def _conflicting(loader: MigrationLoader, chosen: Collection[str]) -> Iterator[str]:
    for finding in conflicts(loader):
        if finding.subject in chosen:
            yield finding.message


def _unmet(
    before: MigrationLoader,
    after: MigrationLoader,
    chosen: Collection[str],
    builds: Sequence[MigrationKey],
) -> Iterator[str]:
    """Other apps' migrations that the chosen need, and that only ``migrate`` may run."""
    applied = before.applied_migrations
    told = set()
    for key in builds:
        for need in after.graph.forwards_plan(key):
            if need[0] in chosen or need in applied or need in told:
                continue
            told.add(need)
            yield (
                f"{'.'.join(key)} needs {'.'.join(need)}, which is not applied: run migrate "
                f"{need[0]} first, or choose {need[0]} as well."
            )


def _ending_the_transaction(
    loader: MigrationLoader, builds: Iterable[MigrationKey]
) -> Iterator[str]:
    """Scripts that would end the transaction of the reset."""
    for key in builds:
        for script in _scripts(loader.graph.nodes[key].operations):
            try:
                transactional(script, kept=True)
            except StatementRefused as error:
                yield f"{'.'.join(key)} cannot run in one transaction with others: {error}."


def _scripts(operations: Iterable[Any]) -> Iterator[str]:
    for operation in operations:
        if isinstance(operation, SeparateDatabaseAndState):
            yield from _scripts(operation.database_operations)
        elif isinstance(operation, RunSQL):
            given: Any = operation.sql
            for one in [given] if isinstance(given, str) else given:
                script = one[0] if isinstance(one, list | tuple) else one
                if isinstance(script, str):
                    yield script


def _shared(chosen: Collection[str], made: Made) -> Iterator[str]:
    """Objects that a chosen and another app have both had their hands in."""
    for change in dict.fromkeys(made.changes):
        if (change.maker in chosen) != (change.app in chosen):
            yield (
                f"{_upper(change.key)} is made by app {change.maker} and changed by migrations of "
                f"app {change.app}: choose both or neither."
            )


def _of_another_kind(
    owners: Mapping[ObjectKey, str], there: Mapping[ObjectKey, Found]
) -> Iterator[str]:
    names = {key.names: key for key in there if key.type in _RELATIONS}
    for key, app in owners.items():
        other = names.get(key.names)
        if other is not None and key not in there and key.type in _RELATIONS:
            yield (
                f"{_upper(other)} has the name of the {key.type} that app {app} makes: rename or "
                "drop it by hand."
            )


def _elsewhere(goes: Belongings, schema: str) -> Iterator[str]:
    for table in goes.tables:
        if table.schema != schema:
            yield (
                f"Table {table.schema}.{table.name} is a part of {table.root.key} and lies outside "
                f"of schema {schema}: detach it first."
            )


def _needed(goes: Belongings) -> Iterator[str]:
    for dependent, needed in goes.outsiders:
        yield (
            f"{_upper(dependent)} depends on {needed.key}: it is not of the chosen apps, so it is "
            "not touched. Drop it by hand, or choose its app as well."
        )
    if goes.circle:
        yield (
            f"These need each other, so that none can be dropped first: {', '.join(goes.circle)}."
        )


def _not_built_again(made: Made, tables: Collection[str]) -> Iterator[str]:
    """What somebody has added to the tables by hand."""
    for finding in drift.compare(made.expected, made.live, privileges=True):
        by_hand = (
            finding.kind.name.startswith("UNEXPECTED") and finding.object is not None
        ) or finding.kind is FindingKind.PRIVILEGES
        if by_hand and finding.table in tables and finding.table in made.expected.relations:
            what = finding.kind.value.removeprefix("unexpected_").replace("_", " ")
            yield f"No migration makes {what} {finding.subject}, so it goes for good."


def _not_on_disk(recorded: Iterable[MigrationKey], loader: MigrationLoader) -> Iterator[str]:
    known = loader.disk_migrations.keys()
    unknown = [".".join(key) for key in recorded if key not in known]
    if unknown:
        yield (
            f"Recorded, and not on disk: {', '.join(unknown)}. The records go; what else these "
            "have made is not known, and stays."
        )


def _leaning(loader: MigrationLoader, chosen: Collection[str]) -> Iterator[str]:
    """Applied migrations of others that were run after those of the chosen."""
    for key in sorted(loader.applied_migrations.keys() & loader.graph.nodes.keys()):
        if key[0] in chosen:
            continue
        for parent in sorted(loader.graph.node_map[key].parents):
            if parent.key[0] in chosen:
                yield (
                    f"{'.'.join(key)} stays applied, and was run after {'.'.join(parent.key)}: "
                    "what it wrote into the tables that go is not written again."
                )


def _upper(words: object) -> str:
    text = str(words)
    return text[:1].upper() + text[1:]
