"""Runs the operations of migrations one after another, as ``Migration.apply`` does, for less.

Most of a replay is Django rendering models anew after each operation: the model that it changes,
and all that are related to it. And it copies the state of every model before each, which grows with
the square of their number. Nobody goes on here after a failure, so what only that is for is left
out.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from django.db.migrations import Migration
from django.db.migrations.state import ProjectState
from django.db.transaction import atomic

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.migrations.operations.base import Operation

# By their exact class, of which the name is enough: what a subclass looks at is not known, and
# importing django.contrib.postgres is the project's choice.
_MODELS = "django.db.migrations.operations.models"
_POSTGRES = "django.contrib.postgres.operations"
_SPECIAL = "django.db.migrations.operations.special"
#: What they change in a model is its Meta alone, and they do not look at it there.
_OF_META = frozenset(
    {
        (_MODELS, "AddConstraint"),
        (_MODELS, "AddIndex"),
        (_MODELS, "RemoveConstraint"),
        (_MODELS, "RemoveIndex"),
        (_POSTGRES, "AddConstraintNotValid"),
        (_POSTGRES, "AddIndexConcurrently"),
        (_POSTGRES, "RemoveIndexConcurrently"),
    }
)
#: They look at no model as it was before; these do at none at all.
_NOT_BACK = frozenset({(_MODELS, "CreateModel")})
_BLIND = frozenset({(_SPECIAL, "RunSQL"), (_SPECIAL, "RunPython")})


class Forwards:
    """The state of the project while its migrations run over ``connection``.

    ``kept``: what they do is meant to stay, so each has the transaction that it asks for, and its
    Python code runs.
    """

    def __init__(
        self, connection: BaseDatabaseWrapper, real_apps: set[str], *, kept: bool = False
    ) -> None:
        self._connection = connection
        self._state = ProjectState(real_apps=real_apps)
        self._kept = kept
        #: Models whose Meta is older in the rendered ones than in the state.
        self._behind: set[tuple[str, str]] = set()

    def run(self, migration: Migration) -> None:
        """Run one migration. Raises what its operations raise; there is no going on then."""
        label, inside = migration.app_label, migration.atomic
        with self._connection.schema_editor(atomic=self._kept and inside) as editor:
            if self._kept and type(migration).apply is not Migration.apply:
                self._catch_up()
                self._state = migration.apply(self._state, editor)
                return
            for operation in migration.operations:
                before = self._advance(label, operation)
                with self._transaction(migration, operation):
                    operation.database_forwards(label, editor, before, self._state)
            if self._kept and not inside:
                return
            # Indexes and foreign keys wait for the end of a migration: all of them in one exchange.
            deferred = ";\n".join(map(str, editor.deferred_sql))
            editor.deferred_sql.clear()
            if deferred:
                editor.execute(deferred, None)

    def _transaction(
        self, migration: Migration, operation: Operation
    ) -> AbstractContextManager[None]:
        """One of the operation's own, which it may ask for where its migration has none."""
        if self._kept and not migration.atomic and operation.atomic:
            return atomic(self._connection.alias)
        return nullcontext()

    def _catch_up(self) -> None:
        if self._behind:
            self._state.reload_models(list(self._behind), delay=False)
            self._behind.clear()

    def _advance(self, label: str, operation: Operation) -> ProjectState:
        """Take the state to what it is after the operation; returns what it was before."""
        kind = type(operation).__module__, type(operation).__qualname__
        if kind in _OF_META:
            return self._advance_meta(label, operation)
        if self._kept or kind not in _BLIND:
            self._catch_up()
        # A copy takes as long as there are models.
        before = self._state if kind in _NOT_BACK | _BLIND else self._state.clone()
        operation.state_forwards(label, self._state)
        return before

    def _advance_meta(self, label: str, operation: Any) -> ProjectState:
        before = self._state.clone()
        # Without rendered models there is nothing to render anew.
        rendered = vars(self._state).pop("apps", None)
        operation.state_forwards(label, self._state)
        if rendered is not None:
            vars(self._state)["apps"] = rendered
            self._behind.add((label, operation.model_name_lower))
        return before
