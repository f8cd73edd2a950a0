"""Comments of a table and of its columns."""

from __future__ import annotations

from collections.abc import Mapping

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from hodei.schema.operations.fields import change_fields, field_of


class AlterComments(Operation):
    """Set the comments of a table and of its columns in one operation.

    Django's own way is one AlterField per column, each of which renders the models anew.
    """

    reduces_to_sql = True
    reversible = True

    def __init__(self, model_name: str, table: str, columns: Mapping[str, str]) -> None:
        self.model_name = model_name
        self.table = table
        self.columns = dict(columns)

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Set ``db_table_comment``, and ``db_comment`` on the fields."""
        state.models[app_label, self.model_name.lower()].options["db_table_comment"] = self.table
        changes = {name: {"db_comment": text} for name, text in self.columns.items()}
        change_fields(state, app_label, self.model_name, changes)

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Write the comments as the new state has them."""
        self._comment(schema_editor, to_state, app_label)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Write the comments as the older state had them, or none."""
        self._comment(schema_editor, to_state, app_label)

    def _comment(
        self, schema_editor: BaseDatabaseSchemaEditor, state: ProjectState, app_label: str
    ) -> None:
        model = state.apps.get_model(app_label, self.model_name)
        if not self.allow_migrate_model(schema_editor.connection.alias, model):
            return
        quote = schema_editor.quote_name
        table = quote(model._meta.db_table)
        targets = [(f"TABLE {table}", model._meta.db_table_comment)]
        for name in self.columns:
            field = field_of(model, name)
            targets.append((f"COLUMN {table}.{quote(field.column)}", field.db_comment))
        statements = [
            f"COMMENT ON {target} IS {schema_editor.quote_value(text or '')}"
            for target, text in targets
        ]
        schema_editor.execute(";\n".join(statements), params=None)

    def describe(self) -> str:
        """Say what it does, for ``migrate --plan``."""
        return f"Comment {self.model_name} and {len(self.columns)} of its columns"
