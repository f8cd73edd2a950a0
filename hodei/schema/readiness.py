"""May a process of this code serve? What a probe and ``schema_wait`` ask, at one query a time.

The files are read once in a process: they are the code it runs, so what they expect cannot change
while it lives. What the database has is read each time, by one SELECT that waits for no DDL.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import Error, transaction
from django.db.migrations.exceptions import (
    BadMigrationError,
    CircularDependencyError,
    NodeNotFoundError,
)
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from hodei.schema.connection import connection_errors, connection_failed, require_postgresql
from hodei.schema.results import MigrationKey
from hodei.schema.status import MigrationGraphBroken, MigrationTableHidden

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

UNDEFINED_TABLE = "42P01"
#: How many judgements are kept: one for each database that is asked about, and to spare.
_KEPT = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """How the migrations of this code and one database's record of them agree."""

    #: How many migrations this code has, the pending ones among them.
    expected: int
    #: In the order in which ``migrate`` would run them.
    pending: tuple[MigrationKey, ...]
    #: Recorded, and not in this code: newer code has run. By name.
    unknown: tuple[MigrationKey, ...]
    #: Apps with several last migrations. What is applied works; ``migrate`` refuses to run.
    conflicting: tuple[str, ...]

    @property
    def is_ready(self) -> bool:
        """Everything this code needs is there; there may be more, so that it lives through the
        deployment of its successor."""
        return not self.pending

    @property
    def is_valid(self) -> bool:
        """The verdict of ``schema_status --check``. A migration that was applied before one it
        depends on makes that one pending, so its order needs no look of its own here."""
        return self.is_ready and not self.conflicting

    def warnings(self) -> list[str]:
        """What should be looked at and keeps nobody from serving; counts and labels, no names."""
        found = []
        if self.unknown:
            found.append(f"{count_of(self.unknown, 'migration')} applied that this code lacks")
        if self.conflicting:
            found.append(f"several last migrations in: {', '.join(self.conflicting)}")
        return found

    def summary(self) -> str:
        """One line in the words of ``schema_status``."""
        applied = self.expected - len(self.pending)
        text = (
            f"Schema valid: {applied}/{self.expected} migrations applied"
            if self.is_valid
            else f"Schema INVALID: {applied}/{self.expected} applied, {len(self.pending)} pending"
        )
        if self.conflicting:
            text += f", {len(self.conflicting)} conflicting"
        return text + (f", {len(self.unknown)} unknown" if self.unknown else "")


class KnownMigrations:
    """The migrations of this process's code, read from disk on first use. Safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loader: _Loader | None = None
        self._judged: dict[frozenset[MigrationKey], Readiness] = {}

    def check(self, connection: BaseDatabaseWrapper) -> Readiness:
        """Ask one database what it has, and judge it. Writes nothing.

        A connection that died since it was last used is replaced, except inside a transaction.
        Raises ConnectionFailed, EngineNotSupported, MigrationGraphBroken, MigrationTableHidden, and
        Django's database errors where the connection works and the answer is refused.
        """
        require_postgresql(connection.alias)
        with connection_errors(connection.alias):
            return self.judge(_recorded(connection))

    def judge(self, recorded: frozenset[MigrationKey]) -> Readiness:
        """Compare what a database has recorded with the files. Raises MigrationGraphBroken, and
        what a migration's own module raises on import."""
        with self._lock:
            found = self._judged.get(recorded)
            if found is None:
                found = self._compare(recorded)
                if len(self._judged) >= _KEPT:
                    self._judged.clear()
                self._judged[recorded] = found
            return found

    def _compare(self, recorded: frozenset[MigrationKey]) -> Readiness:
        loader = self._loader or _Loader()
        try:
            loader.regard(recorded)
        except (BadMigrationError, CircularDependencyError, NodeNotFoundError) as error:
            raise MigrationGraphBroken(
                f"The migrations on disk make no graph: {str(error).rstrip('.')}. "
                "Correct the dependencies, or bring the missing file back."
            ) from error
        self._loader = loader
        graph = loader.graph
        order: dict[MigrationKey, None] = {}
        for leaf in graph.leaf_nodes():
            order.update(dict.fromkeys(graph.forwards_plan(leaf)))
        known = set(loader.disk_migrations).union(
            *(migration.replaces for migration in loader.replacements.values())
        )
        return Readiness(
            expected=len(order),
            pending=tuple(key for key in order if key not in loader.applied_migrations),
            unknown=tuple(sorted(recorded - known)),
            conflicting=tuple(sorted(loader.detect_conflicts())),
        )


class _Loader(MigrationLoader):
    """Django's loader, which reads the files once and is told what is applied.

    It works out squashed migrations anew for each set, as ``migrate`` would.
    """

    def __init__(self) -> None:
        self._recorded: frozenset[MigrationKey] = frozenset()
        self._applied: dict[MigrationKey, Any] = {}
        self._has_read = False
        super().__init__(None, load=False, ignore_no_migrations=True)

    def regard(self, recorded: frozenset[MigrationKey]) -> None:
        """Build the graph for a database that has recorded these."""
        self._recorded = recorded
        self.build_graph()

    def load_disk(self) -> None:
        if not self._has_read:
            super().load_disk()
            self._has_read = True

    # build_graph starts from nothing where it has no connection, and offers no way to say what
    # is applied but this attribute, which it sets before it reads it.
    @property
    def applied_migrations(self) -> dict[MigrationKey, Any]:
        return self._applied

    @applied_migrations.setter
    def applied_migrations(self, _nothing: object) -> None:
        self._applied = dict.fromkeys(self._recorded)


def _recorded(connection: BaseDatabaseWrapper) -> frozenset[MigrationKey]:
    was_open = connection.connection is not None
    try:
        return _select(connection)
    except Error as error:
        if not was_open or connection.in_atomic_block:
            raise
        if connection_failed(error, connection.alias) is None:
            raise
        connection.close()
    return _select(connection)


def _select(connection: BaseDatabaseWrapper) -> frozenset[MigrationKey]:
    table = connection.ops.quote_name(MigrationRecorder.Migration._meta.db_table)
    # Inside a transaction a missing table must not spoil it.
    guard = (
        transaction.atomic(using=connection.alias) if connection.in_atomic_block else nullcontext()
    )
    try:
        with guard, connection.cursor() as cursor:
            cursor.execute(f"SELECT app, name FROM {table}")
            return frozenset(cursor.fetchall())
    except Error as error:
        if getattr(error.__cause__, "sqlstate", None) != UNDEFINED_TABLE:
            raise
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_schema(), current_user")
        schema, role = cursor.fetchone()
    if schema is None:
        raise MigrationTableHidden(
            f"Role {role!r} can use no schema in its search_path, so {table} cannot be seen: "
            "GRANT USAGE ON SCHEMA to it, or correct its search_path."
        )
    return frozenset()


def count_of(things: Collection[object], noun: str) -> str:
    """``1 migration``, ``2 migrations``."""
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def names_of(keys: Sequence[MigrationKey], limit: int = 3) -> str:
    """The first few as ``app.name``, and how many more there are."""
    told = [".".join(key) for key in keys[:limit]]
    more = len(keys) - len(told)
    return ", ".join(told) + (f" and {more} more" if more else "")
