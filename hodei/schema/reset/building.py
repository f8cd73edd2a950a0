"""The migrations of some apps run again from nothing, in the caller's transaction.

RunPython runs, this is the real database; CONCURRENTLY is left out, and a migration without a
transaction of its own runs in this one. What a commit would check is checked after each migration,
after each operation where there was to be no transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from importlib import import_module
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.core.management.sql import emit_post_migrate_signal, emit_pre_migrate_signal
from django.db.migrations.state import ModelState, ProjectState
from django.utils.module_loading import module_has_submodule

from hodei.schema.replay.twins import Notes, transactional, twin_of
from hodei.schema.reset.guards import SchemaChanged
from hodei.schema.results import MigrationKey
from hodei.schema.run.executor import RecordingExecutor

if TYPE_CHECKING:
    from django.db.backends.postgresql.base import DatabaseWrapper
    from django.db.migrations import Migration

    from hodei.schema.run.run import MigrationRun

#: As Django's migrate has them: the action, and the migration.
Told = Callable[..., None]


class Builder:
    """Made when the records of the chosen migrations are gone, so that they are pending."""

    def __init__(
        self,
        connection: DatabaseWrapper,
        run: MigrationRun,
        keys: Collection[MigrationKey],
        told: Told | None,
    ) -> None:
        self._connection = connection
        self._executor = RecordingExecutor(connection, told, run=run)
        self._keys = set(keys)
        graph = self._executor.loader.graph
        everything = self._executor.migration_plan(graph.leaf_nodes(), clean_start=True)
        self._order = [migration for migration, _ in everything]
        #: As the signals of Django's migrate have it.
        self.plan = [(one, False) for one in self._order if _key(one) in self._keys]
        if {_key(one) for one, _ in self.plan} != self._keys:
            raise SchemaChanged("The graph of migrations has changed meanwhile. Run again.")

    def build(self) -> ProjectState:
        """Run and record them. Returns the state after all that is applied then.

        Applied migrations of other apps change the state alone, in the order of the graph: what
        they say of the chosen apps' models would make no sense before those are there.
        """
        executor, applied = self._executor, self._executor.loader.applied_migrations
        state = ProjectState(real_apps=executor.loader.unmigrated_apps)
        with self._connection.execute_wrapper(_send):
            for migration in self._order:
                if _key(migration) in self._keys:
                    state = executor.apply_migration(state, self._twin(migration))
                    self._connection.check_constraints()
                elif _key(migration) in applied:
                    state = migration.mutate_state(state, preserve=False)
        executor.check_replacements()
        return state

    def _twin(self, migration: Migration) -> Migration:
        def check(_what: str) -> None:
            if not migration.atomic:
                self._connection.check_constraints()

        return twin_of(migration, Notes(), check, kept=True)


class Signals:
    """``pre_migrate`` and ``post_migrate``, as Django's migrate sends them."""

    def __init__(self, using: str, *, verbosity: int, stdout: Any) -> None:
        self._facts: dict[str, Any] = {"verbosity": verbosity, "interactive": False, "db": using}
        if stdout is not None:
            self._facts["stdout"] = stdout
        for config in apps.get_app_configs():
            # Where apps connect their receivers, if not in ready().
            if module_has_submodule(config.module, "management"):
                import_module(".management", config.name)

    def before(self, state: ProjectState, plan: list[tuple[Migration, bool]]) -> None:
        emit_pre_migrate_signal(apps=state.apps, plan=plan, **self._facts)

    def after(self, state: ProjectState, plan: list[tuple[Migration, bool]]) -> None:
        state.clear_delayed_apps_cache()
        built = state.apps
        # The models of apps without migrations once more, now with what relates to them.
        with built.bulk_update():
            keys = [(one.app_label, one.name_lower) for one in built.real_models]
            for key in keys:
                built.unregister_model(*key)
        built.render_multiple([ModelState.from_model(apps.get_model(*key)) for key in keys])
        emit_post_migrate_signal(apps=built, plan=plan, **self._facts)


def _key(migration: Migration) -> MigrationKey:
    return migration.app_label, migration.name


def _send(
    execute: Callable[..., Any],
    sql: Any,
    params: Any,
    many: bool,  # noqa: FBT001  (the signature of Django's wrappers)
    context: Any,
) -> Any:
    text = sql.as_string(context["connection"].connection) if hasattr(sql, "as_string") else sql
    return execute(transactional(text, kept=True), params, many, context)
