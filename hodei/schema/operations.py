"""Migration operations that Django lacks: NOT NULL without a long lock, comments, and a guarded way
back from a schema that allows more than the one before it.

They know no model of ours; any migration on PostgreSQL can use them. All run in the transaction of
their migration.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.conf import settings
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models import Model

from hodei.schema.errors import SchemaError

#: PostgreSQL's limit for names.
_NAME_BYTES = 63

#: (table, reason, SQL condition on that table's columns)
Rule = tuple[str, str, str]

#: What the run that is going on allows; None where the setting decides.
_allowed: ContextVar[bool | None] = ContextVar("data_loss_allowed", default=None)


class RowsAtStake(SchemaError):  # noqa: N818  (it is a refusal, and nothing went wrong)
    """The way back would meet rows that the older schema cannot hold. Nothing was touched.

    ``counts`` is a list of (table, reason, number of rows), in the order of the rules.
    """

    def __init__(self, counts: list[tuple[str, str, int]]) -> None:
        self.counts = counts
        lines = "".join(f"\n  {table}: {number} ({reason})" for table, reason, number in counts)
        super().__init__(
            f"The older schema cannot hold these rows, and nothing was changed:{lines}\n"
            "Remove them, or allow the loss: then they are moved, with what depends on them, into "
            "tables named <table>_head_rows. Of schema_rollback that is the option "
            "--allow-data-loss, of migrate the setting HODEI_ALLOW_DATA_LOSS=1."
        )


@contextmanager
def data_loss(*, allowed: bool) -> Iterator[None]:
    """Inside the block this decides for RefuseRows, in this thread, whatever the setting says."""
    token = _allowed.set(allowed)
    try:
        yield
    finally:
        _allowed.reset(token)


def _may_lose() -> bool:
    decided = _allowed.get()
    return bool(getattr(settings, "HODEI_ALLOW_DATA_LOSS", False)) if decided is None else decided


class _OnFields(Operation):
    """An operation on some columns of one model, in one statement per table."""

    reduces_to_sql = True
    reversible = True

    def __init__(self, model_name: str, fields: Sequence[str]) -> None:
        self.model_name = model_name
        self.fields = list(fields)

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Leave the state alone: these steps are the database's business."""

    def _columns(self, app_label: str, state: ProjectState) -> tuple[str, list[str]]:
        model = state.apps.get_model(app_label, self.model_name)
        columns = [_field(model, name).column for name in self.fields]
        return model._meta.db_table, columns

    def _alter(
        self,
        schema_editor: BaseDatabaseSchemaEditor,
        app_label: str,
        state: ProjectState,
        action: str,
    ) -> None:
        """Run ALTER TABLE with ``action`` per column; {column} and {check} are quoted for it."""
        table, columns = self._columns(app_label, state)
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
        _change_fields(
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
        _change_fields(state, app_label, self.model_name, changes)

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
        quote = schema_editor.quote_name
        table = quote(model._meta.db_table)
        targets = [(f"TABLE {table}", model._meta.db_table_comment)]
        for name in self.columns:
            field = _field(model, name)
            targets.append((f"COLUMN {table}.{quote(field.column)}", field.db_comment))
        statements = [
            f"COMMENT ON {target} IS {schema_editor.quote_value(text or '')}"
            for target, text in targets
        ]
        schema_editor.execute(";\n".join(statements), params=None)

    def describe(self) -> str:
        """Say what it does, for ``migrate --plan``."""
        return f"Comment {self.model_name} and {len(self.columns)} of its columns"


class _OnRules(Operation):
    """An operation about rows that an older schema cannot hold. It acts on the way back alone."""

    reduces_to_sql = False
    reversible = True
    elidable = False

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = [(table, reason, condition) for table, reason, condition in rules]

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Leave the state alone."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Do nothing: forward, everything fits."""


class RefuseRows(_OnRules):
    """On the way back, refuse while a rule still matches, before anything is touched.

    It belongs into the last migration, so that it is the first to be undone. Where the loss is
    allowed it passes, and MoveRows moves the rows later on: by ``schema_rollback
    --allow-data-loss``, which has counted them before its first step, or in any other way back by
    the setting HODEI_ALLOW_DATA_LOSS.
    """

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Raise RowsAtStake with the counts per rule."""
        if schema_editor.collect_sql or _may_lose():
            return
        counts = []
        with schema_editor.connection.cursor() as cursor:
            for table, reason, condition in self.rules:
                name = schema_editor.quote_name(table)
                cursor.execute(f"SELECT count(*) FROM {name} WHERE {condition}")
                (number,) = cursor.fetchone()
                counts.append((table, reason, number))
        at_stake = [count for count in counts if count[2]]
        if at_stake:
            raise RowsAtStake(at_stake)

    def describe(self) -> str:
        """Say what it does, for ``migrate --plan``."""
        tables = ", ".join(dict.fromkeys(table for table, _reason, _condition in self.rules))
        return f"Way back: refuse rows that the older schema cannot hold ({tables})"


class MoveRows(_OnRules):
    """On the way back, move rows that do not fit into ``<table>_head_rows``, as JSON.

    Rows of other tables that would go with them (foreign keys other than SET NULL) are moved first,
    each into the archive of its own table.
    """

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Move the rows, in the transaction of the migration."""
        if schema_editor.collect_sql:
            return
        # Foreign keys are read below: pending trigger events must not stand in the way of DDL.
        for table, reason, condition in self.rules:
            move_rows(schema_editor, table, reason, condition)

    def describe(self) -> str:
        """Say what it does, for ``migrate --plan``."""
        tables = ", ".join(dict.fromkeys(table for table, _reason, _condition in self.rules))
        return f"Way back: move rows that the older schema cannot hold ({tables})"


def move_rows(
    schema_editor: BaseDatabaseSchemaEditor, table: str, reason: str, condition: str
) -> None:
    """Move the rows of ``table`` that match, and what depends on them, into archive tables.

    The archive of a table is made when its first row arrives: (moved_at, reason, row as JSON).
    """
    quote = schema_editor.quote_name
    going = quote(f"going_{table}"[:63])
    with schema_editor.connection.cursor() as cursor:
        # Which rows go is settled first: the condition may read rows that are about to move.
        cursor.execute(
            f"CREATE TEMPORARY TABLE {going} ON COMMIT DROP AS "
            f"SELECT ctid AS place FROM {quote(table)} WHERE {condition}"
        )
        there = f"ctid IN (SELECT place FROM {going})"
        if cursor.rowcount:
            for child, column, parent_column in _dependents(schema_editor, table):
                parents = f"SELECT {quote(parent_column)} FROM {quote(table)} WHERE {there}"
                move_rows(
                    schema_editor, child, f"{reason}, by {table}", f"{quote(column)} IN ({parents})"
                )
            archive = quote(archive_of(table))
            cursor.execute(
                f"CREATE TABLE IF NOT EXISTS {archive} (moved_at timestamptz NOT NULL "
                "DEFAULT now(), reason text NOT NULL, row_data jsonb NOT NULL)"
            )
            cursor.execute(
                f"WITH gone AS (DELETE FROM {quote(table)} WHERE {there} RETURNING *) "
                f"INSERT INTO {archive} (reason, row_data) SELECT %s, to_jsonb(gone) FROM gone",
                [reason],
            )
        cursor.execute(f"DROP TABLE {going}")


def archive_of(table: str) -> str:
    """The table that ``move_rows`` moves rows of this one into: its name, as the server cuts it."""
    name = f"{table}_head_rows".encode()[:_NAME_BYTES]
    return name.decode(errors="ignore")


def _dependents(
    schema_editor: BaseDatabaseSchemaEditor, table: str
) -> Iterator[tuple[str, str, str]]:
    """Yield (table, column, referenced column) of one-column keys that would stop or lose rows."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT child.relname, own.attname, referenced.attname
              FROM pg_constraint key
              JOIN pg_class child ON child.oid = key.conrelid
              JOIN pg_attribute own ON own.attrelid = key.conrelid AND own.attnum = key.conkey[1]
              JOIN pg_attribute referenced
                ON referenced.attrelid = key.confrelid AND referenced.attnum = key.confkey[1]
             WHERE key.contype = 'f' AND key.confdeltype <> 'n' AND cardinality(key.conkey) = 1
               AND key.confrelid = to_regclass(%s) AND key.conrelid <> key.confrelid
             ORDER BY child.relname
            """,
            [schema_editor.quote_name(table)],
        )
        yield from cursor.fetchall()


def _field(model: type[Model], name: str) -> Any:
    """The field of that name; no relation from another model is asked for here."""
    return model._meta.get_field(name)


def _change_fields(
    state: ProjectState, app_label: str, model_name: str, changes: Mapping[str, dict[str, Any]]
) -> None:
    """Change attributes of several fields, rendering the model once."""
    key = app_label, model_name.lower()
    fields = state.models[key].fields
    for name, attributes in changes.items():
        _name, _path, args, kwargs = fields[name].deconstruct()
        fields[name] = type(fields[name])(*args, **{**kwargs, **attributes})
    state.reload_model(*key, delay=True)
