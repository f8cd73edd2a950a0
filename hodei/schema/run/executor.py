"""Django's migration executor, with every attempt recorded, and its way into ``migrate``.

``migrate`` builds its executor from a name in its own module and offers no other door (Django 5.2
to 6.1), so that one name is exchanged while the command runs. Nothing else of Django is patched:
plans, signals, content types and permissions are those of the stock command.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from django.core.management.commands import migrate
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.state import ProjectState
from django.db.transaction import atomic

from hodei.schema.results import Direction, MigrationKey

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor
    from django.db.migrations import Migration

    from hodei.schema.run.attempts import Attempt
    from hodei.schema.run.run import MigrationRun

# The name in its module that migrate builds its executor from.
_DOOR = "MigrationExecutor"

# Reentrant: a migration's own code may call migrate again, for another database.
_exchange = threading.RLock()

Plan = Sequence[tuple["Migration", bool]]


class RecordingExecutor(MigrationExecutor):
    """Runs each migration as an attempt of ``run``, again if it did not get its locks.

    The record of a success commits together with what the migration did. Django writes its own
    record after the transaction where a migration has deferred SQL, and always when it unapplies,
    and a process killed in between leaves a schema that no later run understands. So the deferred
    SQL is run, and both records are written, at the end of the migration's own transaction.
    """

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        progress_callback: Callable[..., Any] | None = None,
        *,
        run: MigrationRun,
    ) -> None:
        super().__init__(connection)
        if progress_callback is not None:
            self.progress_callback = self._progress
        self._told = progress_callback
        self._run = run
        self._attempt: Attempt | None = None
        self._applied: set[MigrationKey] = set()

    def migrate(
        self,
        targets: Any,
        plan: Any = None,
        state: ProjectState | None = None,
        fake: bool = False,  # noqa: FBT001, FBT002  (Django's signature)
        fake_initial: bool = False,  # noqa: FBT001, FBT002
    ) -> ProjectState:
        steps: Plan = self.migration_plan(targets) if plan is None else plan
        with self._run.work(steps) if steps else nullcontext():
            return super().migrate(
                targets, plan=steps, state=state, fake=fake, fake_initial=fake_initial
            )

    def apply_migration(
        self,
        state: ProjectState,
        migration: Migration,
        fake: bool = False,  # noqa: FBT001, FBT002
        fake_initial: bool = False,  # noqa: FBT001, FBT002
    ) -> ProjectState:
        stock = super().apply_migration

        def once(attempt: Attempt) -> ProjectState:
            # What failed has changed the state that it was given.
            before = state if attempt.number == 1 else self._state_before(migration)
            with self._inside(migration, attempt):
                return stock(before, migration, fake, fake_initial)

        after = self._run.attempts(migration, Direction.FORWARD, once)
        self._applied.add((migration.app_label, migration.name))
        return after

    def unapply_migration(
        self,
        state: ProjectState,
        migration: Migration,
        fake: bool = False,  # noqa: FBT001, FBT002
    ) -> ProjectState:
        stock = super().unapply_migration

        def once(attempt: Attempt) -> ProjectState:
            with self._inside(migration, attempt):
                if fake:
                    self._record_unapplied(migration, attempt)
                return stock(state, migration, fake)

        return self._run.attempts(migration, Direction.BACKWARD, once)

    def before_unapplying(self, migration: Migration) -> None:
        """Called inside the migration's transaction, where it has one, before it is undone."""

    def after_unapplying(self, migration: Migration) -> None:
        """Called there when it is undone, before that is recorded."""

    def record_migration(self, *args: Any, **options: Any) -> None:
        """Join our record to Django's. Its signature is another in each of Django's versions."""
        attempt = self._attempt
        if attempt is None or attempt.recording:
            super().record_migration(*args, **options)
        elif not attempt.recorded:
            with self._together():
                stock = super().record_migration
                attempt.record(lambda: stock(*args, **options))

    def _record_unapplied(self, migration: Migration, attempt: Attempt) -> None:
        with self._together():
            attempt.record(lambda: self._forget(migration.app_label, migration.name))

    def _forget(self, app: str, name: str) -> None:
        migration = self.loader.disk_migrations.get((app, name))
        for replaced in migration.replaces if migration else ():
            self._forget(*replaced)
        self.recorder.record_unapplied(app, name)

    def _together(self) -> Any:
        """The migration's transaction, or one for the two records where it has none."""
        alias = self.connection.alias
        return nullcontext() if self.connection.in_atomic_block else atomic(alias)

    @contextmanager
    def _inside(self, migration: Migration, attempt: Attempt) -> Iterator[None]:
        """Be there when the migration has begun its transaction, and before it ends it."""
        apply, unapply = migration.apply, migration.unapply

        def applied(
            state: ProjectState, editor: BaseDatabaseSchemaEditor, *rest: Any
        ) -> ProjectState:
            with attempt.operations(migration):
                attempt.ran()
                after = apply(state, editor, *rest)
            _run_deferred(editor, attempt)
            return after

        def unapplied(
            state: ProjectState, editor: BaseDatabaseSchemaEditor, *rest: Any
        ) -> ProjectState:
            with attempt.operations(migration):
                attempt.ran()
                self.before_unapplying(migration)
                after = unapply(state, editor, *rest)
            _run_deferred(editor, attempt)
            self.after_unapplying(migration)
            self._record_unapplied(migration, attempt)
            return after

        mine: dict[str, Any] = vars(migration)
        mine.update(apply=applied, unapply=unapplied)
        self._attempt = attempt
        try:
            yield
        finally:
            self._attempt = None
            del mine["apply"], mine["unapply"]

    def _state_before(self, migration: Migration) -> ProjectState:
        """The state again as it was before this migration: of what is applied, and by this run."""
        state = ProjectState(real_apps=self.loader.unmigrated_apps)
        applied = set(self.loader.applied_migrations) | self._applied
        for each, _ in self.migration_plan(self.loader.graph.leaf_nodes(), clean_start=True):
            if (each.app_label, each.name) in applied and each != migration:
                each.mutate_state(state, preserve=False)
        return state

    def _progress(self, action: str, *facts: Any) -> None:
        """Pass on what Django tells, each line once however many attempts there are."""
        attempt = self._attempt
        if action.endswith("_success"):
            self._run.progress.end()
        if attempt is not None and attempt.number > 1 and action.endswith("_start"):
            return
        if self._told is not None:
            self._told(action, *facts)


@contextmanager
def exchanged(build: Callable[..., MigrationExecutor]) -> Iterator[None]:
    """Inside the block, ``migrate`` called from this thread runs on what ``build`` returns.

    One thread at a time may be inside; another that calls ``migrate`` plainly meanwhile gets
    Django's executor, as it would have without us.
    """
    with _exchange:
        found: Callable[..., MigrationExecutor] = getattr(migrate, _DOOR)
        thread = threading.get_ident()

        def choose(
            connection: BaseDatabaseWrapper, progress_callback: Callable[..., Any] | None = None
        ) -> MigrationExecutor:
            chosen = build if threading.get_ident() == thread else found
            return chosen(connection, progress_callback)

        setattr(migrate, _DOOR, choose)
        try:
            yield
        finally:
            setattr(migrate, _DOOR, found)


def _run_deferred(editor: BaseDatabaseSchemaEditor, attempt: Attempt) -> None:
    """What Django does on leaving the editor, where the records would come too late."""
    if editor.collect_sql:
        return
    with attempt.operation("deferred SQL"):
        for statement in editor.deferred_sql:
            editor.execute(statement, None)
    editor.deferred_sql.clear()
