"""NOT NULL without a long lock, in three steps."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from hodei.schema.operations.fields import change_fields, field_of


class _OnFields(Operation):
    """An operation on some columns of one model, in one statement per table."""

    reduces_to_sql = True
    reversible = True

    def __init__(self, model_name: str, fields: Sequence[str]) -> None:
        self.model_name = model_name
        self.fields = list(fields)

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Leave the state alone: these steps are the database's business."""

    def _alter(
        self,
        schema_editor: BaseDatabaseSchemaEditor,
        app_label: str,
        state: ProjectState,
        action: str,
    ) -> None:
        """Run ALTER TABLE with ``action`` per column; {column} and {check} are quoted for it."""
        model = state.apps.get_model(app_label, self.model_name)
        if not self.allow_migrate_model(schema_editor.connection.alias, model):
            return
        table = model._meta.db_table
        columns = [field_of(model, name).column for name in self.fields]
        quote = schema_editor.quote_name
        actions = ", ".join(
            action.format(column=quote(column), check=quote(f"{table}_{column}_present"))
            for column in columns
        )
        schema_editor.execute(f"ALTER TABLE {quote(table)} {actions}", params=None)


class RequireNotNull(_OnFields):
    """Refuse NULL in new rows from now on, without reading the old ones.

    First of three: RequireNotNull, ValidateNotNull and SetNotNull, each in a migration of its own.
    Together they make columns NOT NULL while only ever holding an exclusive lock for an instant
    (PostgreSQL's ALTER TABLE page: SET NOT NULL skips its scan where a valid CHECK proves it).
    """

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Add one CHECK NOT VALID per column."""
        self._alter(
            schema_editor,
            app_label,
            to_state,
            "ADD CONSTRAINT {check} CHECK ({column} IS NOT NULL) NOT VALID",
        )

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Drop the checks that SetNotNull has not dropped already."""
        self._alter(schema_editor, app_label, from_state, "DROP CONSTRAINT IF EXISTS {check}")

    def describe(self) -> str:
        """Say what it does, for ``migrate --plan``."""
        return f"Refuse NULL in new rows of {self.model_name}: {', '.join(self.fields)}"


class ValidateNotNull(_OnFields):
    """Read the old rows under a lock that lets others read and write."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Validate each check that RequireNotNull has added."""
        self._alter(schema_editor, app_label, to_state, "VALIDATE CONSTRAINT {check}")

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Do nothing: a check that was read stays true."""

    def describe(self) -> str:
        """Say what it does, for ``migrate --plan``."""
        return f"Find no NULL in {self.model_name}: {', '.join(self.fields)}"


class SetNotNull(_OnFields):
    """Make the columns NOT NULL by the checks that prove it, and drop those checks.

    On the way back the checks come again, unread: others are kept waiting for no scan. So each of
    the three can be undone and applied again by itself; the proof is then read anew.
    """

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Set ``null=False`` on the fields."""
        change_fields(
            state, app_label, self.model_name, {name: {"null": False} for name in self.fields}
        )

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Three statements: within one, PostgreSQL would drop the proof before it is used. Where
        the proof was read before, the first costs nothing."""
        self._alter(schema_editor, app_label, to_state, "VALIDATE CONSTRAINT {check}")
        self._alter(schema_editor, app_label, to_state, "ALTER COLUMN {column} SET NOT NULL")
        self._alter(schema_editor, app_label, to_state, "DROP CONSTRAINT {check}")

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Allow NULL again, but for new rows, as RequireNotNull has left it."""
        self._alter(
            schema_editor,
            app_label,
            from_state,
            "ALTER COLUMN {column} DROP NOT NULL, "
            "ADD CONSTRAINT {check} CHECK ({column} IS NOT NULL) NOT VALID",
        )

    def describe(self) -> str:
        """Say what it does, for ``migrate --plan``."""
        return f"Set NOT NULL on {self.model_name}: {', '.join(self.fields)}"
