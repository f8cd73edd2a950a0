"""A guarded way back from a schema that allows more than the one before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from django.conf import settings
from django.db import router
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from hodei.schema.errors import SchemaError
from hodei.schema.operations.moving import move_rows

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
        if not _has_tables(schema_editor, app_label) or _may_lose():
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
        if not _has_tables(schema_editor, app_label):
            return
        # Foreign keys are read below: pending trigger events must not stand in the way of DDL.
        for table, reason, condition in self.rules:
            move_rows(schema_editor, table, reason, condition)

    def describe(self) -> str:
        """Say what it does, for ``migrate --plan``."""
        tables = ", ".join(dict.fromkeys(table for table, _reason, _condition in self.rules))
        return f"Way back: move rows that the older schema cannot hold ({tables})"


def _has_tables(schema_editor: BaseDatabaseSchemaEditor, app_label: str) -> bool:
    """Whether there are rows to look at: not where SQL is only shown, or the app has no tables."""
    alias = schema_editor.connection.alias
    return not schema_editor.collect_sql and bool(router.allow_migrate(alias, app_label))
