"""Django's way back: in our order, with its signals, and in one transaction where that can be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from django.apps import apps
from django.core.management.sql import emit_post_migrate_signal, emit_pre_migrate_signal
from django.db.migrations.state import ModelState, ProjectState

from hodei.schema.results import MigrationKey
from hodei.schema.rollback.statements import in_order
from hodei.schema.run.executor import RecordingExecutor

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.migrations import Migration

    from hodei.schema.run.run import MigrationRun


class Guard(Protocol):
    """Inside each transaction: it may refuse, and then all of that is taken back."""

    def before(self, step: MigrationKey | None) -> None:
        """Nothing is done yet of this step, or of all of them (None)."""

    def after(self) -> None:
        """All is done, and not committed."""


class RollbackExecutor(RecordingExecutor):
    """Undoes the steps that it is given, from the first to the last.

    ``together``: in one transaction. Else each as ``migrate`` would undo it.
    """

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        progress_callback: Callable[..., Any] | None = None,
        *,
        run: MigrationRun,
        together: bool,
        guard: Guard,
    ) -> None:
        super().__init__(connection, progress_callback, run=run)
        self._as_one = together
        self._guard = guard

    def go_back(self, steps: Sequence[MigrationKey], *, verbosity: int, stdout: Any) -> None:
        """Undo them, between Django's two signals, as ``migrate`` backwards sends them."""
        plan = [(self.loader.graph.nodes[key], True) for key in steps]
        alias = self.connection.alias
        stock: Any = self
        before = stock._create_project_state(with_applied_migrations=True)  # noqa: SLF001
        told = {"stdout": stdout, "plan": plan}
        emit_pre_migrate_signal(verbosity, False, alias, apps=before.apps, **told)  # noqa: FBT003
        after = self.migrate(None, plan=plan, state=before.clone())
        emit_post_migrate_signal(
            verbosity,
            False,  # noqa: FBT003  (its signature: nobody is asked anything)
            alias,
            apps=_rendered(after),
            **told,
        )

    def _migrate_all_backwards(self, plan: Any, full_plan: Any, fake: Any) -> ProjectState:
        stock: Callable[..., ProjectState] = super()._migrate_all_backwards  # type: ignore[misc]
        order = [(one, False) for one in in_order(self.loader, [one for one, _ in plan])]

        def undo_all() -> ProjectState:
            self._guard.before(None)
            state = stock(plan, order, fake)
            self._guard.after()
            return state

        if self._as_one:
            return self._run.all_or_nothing(undo_all)
        return stock(plan, order, fake)

    def before_unapplying(self, migration: Migration) -> None:
        if not self._as_one and self.connection.in_atomic_block:
            self._guard.before((migration.app_label, migration.name))

    def after_unapplying(self, migration: Migration) -> None:
        if self._as_one:
            # What a commit would check now; and pending checks would refuse the next step's DDL.
            self.connection.check_constraints()
        elif self.connection.in_atomic_block:
            self._guard.after()


def _rendered(state: ProjectState) -> Any:
    """The models after it, those of apps without migrations anew, as ``migrate`` renders them."""
    state.clear_delayed_apps_cache()
    rendered = state.apps
    with rendered.bulk_update():
        keys = [(model.app_label, model.name_lower) for model in rendered.real_models]
        for key in keys:
            rendered.unregister_model(*key)
    rendered.render_multiple([ModelState.from_model(apps.get_model(*key)) for key in keys])
    return rendered
