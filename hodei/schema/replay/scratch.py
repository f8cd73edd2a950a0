"""What the applied migrations build: by replaying them into a schema that is never kept.

The replay runs in one transaction of a connection of its own, which is always rolled back. The
scratch schema alone is in the search path, so that unqualified names cannot meet the real tables,
and after each operation our own locks are read: one on anything real ends the replay. See Note
[Locks that are not read].
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from django.apps import apps as installed
from django.db import Error, router
from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations import CreateModel, SeparateDatabaseAndState

from hodei.schema.catalog.inspection import read_catalog
from hodei.schema.catalog.model import Catalog
from hodei.schema.errors import SchemaError
from hodei.schema.replay.forwards import Forwards
from hodei.schema.replay.inside import stays_inside
from hodei.schema.replay.sessions import never_kept, set_timeouts
from hodei.schema.replay.twins import Notes, StatementRefused, transactional, twin_of
from hodei.schema.results import MigrationKey

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

#: One transaction locks every table it makes, with its indexes and sequences, and the server's lock
#: table holds some 6,400 at its defaults, for everybody.
MOST_TABLES = 300
_UNREAD_AT_MOST = 200

REBUILD = (
    "Use schema_validate --rebuild, which replays in a temporary database, or --expected with a "
    "file of schema_snapshot."
)

# Note [Locks that are not read]
# Reading one's own locks takes the server as long as there are locks, so reading them after each of
# many operations takes longer than all the rest. After a statement that plainly stays inside the
# schema of the search path (``inside``) there is nothing to find, and they are read before long:
# after the next operation that may reach out, and at the end. An event trigger makes any statement
# one that may: its function is somebody's.

# Whose they are is looked up once for each.
_HELD = """
SELECT current_setting('search_path'),
       EXISTS (SELECT FROM pg_event_trigger WHERE evtenabled <> 'D'), ARRAY(
       SELECT DISTINCT relation::bigint FROM pg_locks
        WHERE pid = pg_backend_pid() AND locktype = 'relation' AND mode <> 'AccessShareLock'
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
"""
_WHOSE = """
SELECT c.oid::bigint, n.nspname, n.nspname || '.' || c.relname, c.relkind::text IN ('r', 'p')
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = ANY(%s::oid[])
"""
_MODES = """
SELECT string_agg(mode, ', ' ORDER BY mode) FROM pg_locks
 WHERE pid = pg_backend_pid() AND locktype = 'relation' AND relation = %s
"""
_REAL = """
SELECT oid::bigint FROM pg_class c WHERE relnamespace NOT IN
       (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_' OR nspname = 'information_schema')
"""


class ReplayFailed(SchemaError):  # noqa: N818  (it reads as the fact it states)
    """The migrations could not be replayed, so there is nothing to compare the database with."""

    exit_code = 3

    @property
    def reason(self) -> str:
        """Why, without what schema_validate advises."""
        return str(self).removesuffix(REBUILD).rstrip(". ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the migrations build, and what is not known of it."""

    catalog: Catalog
    notes: tuple[str, ...] = ()


def applied_plan(loader: MigrationLoader) -> list[MigrationKey]:
    """The applied migrations in an order in which they can run."""
    order: dict[MigrationKey, None] = {}
    for leaf in sorted(loader.graph.leaf_nodes()):
        order.update(dict.fromkeys(loader.graph.forwards_plan(leaf)))
    return [key for key in order if key in loader.applied_migrations]


def replay(
    connection: BaseDatabaseWrapper,
    loader: MigrationLoader,
    live_tables: Collection[str],
    watch: Callable[[str, str], None] | None = None,
) -> Expected:
    """Build the applied migrations beside the real schema, read the result, and undo everything.

    ``connection`` must be the one its alias means in this thread (``private_connection``). Nothing
    of it outlives this call, or the process. ``watch`` is called after the migrations of one app
    that follow each other, with its label and the name of the scratch schema. Raises ReplayFailed.
    """
    notes = Notes()
    with _scratch(connection) as guard:
        plan = applied_plan(loader)
        following = [app for app, _ in plan[1:]]
        played = _played(guard, loader, plan, notes)
        for (app, _), after in zip_longest(played, following):
            if watch is not None and app != after:
                watch(app, guard.schema)
        with (
            _failures("the tables of apps without migrations"),
            connection.execute_wrapper(guard.send),
        ):
            synchronise(connection, loader, live_tables)
            guard.check("the tables of apps without migrations")
        catalog = read_catalog(connection, guard.schema)
    extensions = tuple(sorted(notes.extensions))
    return Expected(catalog=replace(catalog, extensions=extensions), notes=_told(notes))


def replay_each(
    connection: BaseDatabaseWrapper, loader: MigrationLoader, migrations: Sequence[MigrationKey]
) -> list[tuple[MigrationKey, Catalog]]:
    """Build these migrations, applied or not, and read what there is after each of them.

    In an order in which they can run. Otherwise as ``replay``.
    """
    notes = Notes()
    found = []
    with _scratch(connection) as guard:
        for key in _played(guard, loader, migrations, notes):
            guard.check(".".join(key))
            catalog = read_catalog(connection, guard.schema)
            found.append((key, replace(catalog, extensions=tuple(sorted(notes.extensions)))))
    return found


@contextmanager
def _scratch(connection: BaseDatabaseWrapper) -> Iterator[Guard]:
    with never_kept(connection):
        set_timeouts(connection)
        yield Guard(connection)


def _played(
    guard: Guard, loader: MigrationLoader, keys: Sequence[MigrationKey], notes: Notes
) -> Iterator[MigrationKey]:
    """Run the twins, one after the other; yields after each.

    What the caller reads then is ours, and no statement to be looked through.
    """
    migrations = [loader.graph.nodes[key] for key in keys]
    _refuse_many(_count_models(migrations))
    forwards = Forwards(guard.connection, loader.unmigrated_apps)
    for key, migration in zip(keys, migrations, strict=True):
        with _failures(str(migration)), guard.connection.execute_wrapper(guard.send):
            forwards.run(twin_of(migration, notes, guard.look))
            guard.look(str(migration))
        yield key


class Guard:
    """The scratch schema, and the look at what else was touched."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        #: About how many statements since the locks were read; whether one may have reached out.
        self._unread = 0
        self._may_reach_out = False
        self._has_event_triggers = True
        self._tables = 0
        #: Relations of the scratch schema and of the system, as far as they were seen.
        self._harmless: set[int] = set()
        self.schema = f"hodei_replay_{secrets.token_hex(6)}"
        with _failures("making a scratch schema"), connection.cursor() as cursor:
            cursor.execute(_REAL)
            self._real = frozenset(oid for (oid,) in cursor.fetchall())
            cursor.execute(f"CREATE SCHEMA {self.schema}")
            cursor.execute(f"SET LOCAL search_path TO {self.schema}")

    def send(
        self,
        execute: Callable[..., Any],
        sql: Any,
        params: Any,
        many: bool,  # noqa: FBT001  (the signature of Django's wrappers)
        context: Any,
    ) -> Any:
        """Django's wrapper around each statement: the twin is sent in its place."""
        twin = transactional(sql) if isinstance(sql, str) else sql
        script = str(twin)
        self._unread += 1 + script.count(";")
        if not self._may_reach_out:
            self._may_reach_out = self._has_event_triggers or not stays_inside(script)
        return execute(twin, params, many, context)

    def look(self, what: str) -> None:
        """Check if there is something to find. See Note [Locks that are not read]."""
        if self._may_reach_out or self._unread >= _UNREAD_AT_MOST:
            self.check(what)

    def check(self, what: str) -> None:
        """Raise ReplayFailed if something real was locked, or too much was made."""
        if not self._unread:
            return
        with self.connection.cursor() as cursor:
            cursor.execute(_HELD)
            path, self._has_event_triggers, held = cursor.fetchone()
            new = [oid for oid in held if oid not in self._harmless]
            if new:
                self._judge(cursor, new, what)
            if path != self.schema:
                cursor.execute(f"SET LOCAL search_path TO {self.schema}")
        self._unread, self._may_reach_out = 0, False

    def _judge(self, cursor: Any, relations: list[int], what: str) -> None:
        cursor.execute(_WHOSE, [relations])
        found = {oid: facts for oid, *facts in cursor.fetchall()}
        for oid in relations:
            schema, name, is_table = found.get(oid, (None, "a table that it dropped", False))
            is_real = oid in self._real if schema is None else schema != self.schema
            if is_real and not (schema or "").startswith(("pg_", "information_schema")):
                cursor.execute(_MODES, [oid])
                (modes,) = cursor.fetchone()
                raise ReplayFailed(
                    f"The replay was given up and undone: {what} reached out of the scratch "
                    f"schema and locked {name} ({modes}). {REBUILD}"
                )
            self._tables += bool(is_table and schema == self.schema)
        self._harmless.update(relations)
        _refuse_many(self._tables)


def synchronise(
    connection: BaseDatabaseWrapper, loader: MigrationLoader, tables: Collection[str]
) -> None:
    """Make the tables of apps without migrations, as ``migrate --run-syncdb`` does, where the
    database has them."""
    with connection.schema_editor() as editor:
        for label in sorted(loader.unmigrated_apps):
            if not installed.is_installed(installed.get_app_config(label).name):
                continue
            models: Iterable[Any] = router.get_migratable_models(
                installed.get_app_config(label), connection.alias, include_auto_created=False
            )
            for model in models:
                if model._meta.can_migrate(connection) and model._meta.db_table in tables:
                    editor.create_model(model)


@contextmanager
def _failures(what: str) -> Iterator[None]:
    try:
        yield
    except ReplayFailed:
        raise
    except StatementRefused as error:
        raise ReplayFailed(f"{what} was not replayed: {error}. {REBUILD}") from error
    except Error as error:
        words = " ".join(str(error).split())
        raise ReplayFailed(
            f"The replay was given up and undone: {what} failed in the scratch schema "
            f'("{words}"). {_reason(error)}{REBUILD}'
        ) from error
    except Exception as error:
        raise ReplayFailed(
            f"The replay was given up and undone: {what} raised {type(error).__name__}: {error}. "
            f"{REBUILD}"
        ) from error


def _reason(error: Error) -> str:
    match getattr(error.__cause__, "sqlstate", None):
        case "42501":
            return "The role may not do that: it needs CREATE on the database. "
        case "42704" | "42883":
            return "A type, function or operator class of an extension may be in another schema. "
        case "53200":
            return "The server's lock table is full: see max_locks_per_transaction. "
    return ""


def _refuse_many(tables: int) -> None:
    if tables > MOST_TABLES:
        raise ReplayFailed(
            f"The migrations make {tables} tables or more; up to {MOST_TABLES} are replayed in one "
            f"transaction, since the server's lock table is finite. {REBUILD}"
        )


def _count_models(migrations: Sequence[Migration]) -> int:
    def count(operations: Iterable[Any]) -> int:
        total = 0
        for operation in operations:
            if isinstance(operation, SeparateDatabaseAndState):
                total += count(operation.database_operations)
            elif isinstance(operation, CreateModel):
                total += not {"proxy", "managed"} & operation.options.keys()
        return total

    return sum(count(migration.operations) for migration in migrations)


def _told(notes: Notes) -> tuple[str, ...]:
    if not notes.python:
        return ()
    names = list(dict.fromkeys(notes.python))
    shown = ", ".join(names)
    return (f"RunPython was not run ({shown}); where it changes the schema, --rebuild knows.",)
