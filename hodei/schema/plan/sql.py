"""The SQL of one operation, forward or on the way back: collected, and none of it run.

It is what Django's schema editor would execute. It comes through a connection whose transactions
are read-only (``session``): an operation that goes past the editor, and writes at once, is refused
by the server and told as unknown. Code of RunPython is never run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from django.db import Error
from django.db.migrations.operations import RunPython, SeparateDatabaseAndState

from hodei.schema.operations import MoveRows, RefuseRows
from hodei.schema.plan.hazards import Code, Hazard
from hodei.schema.plan.session import contained
from hodei.schema.plan.tokens import split

if TYPE_CHECKING:
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor
    from django.db.migrations.operations.base import Operation
    from django.db.migrations.state import ProjectState


def collect(
    operation: Operation,
    app_label: str,
    editor: BaseDatabaseSchemaEditor,
    before: ProjectState,
    after: ProjectState,
    *,
    backwards: bool = False,
) -> tuple[list[str], list[Hazard]]:
    """The statements of one operation, and what could not be told of it.

    ``before`` and ``after`` are the states on its two sides as it was applied, whichever way it is
    gone. What is inside SeparateDatabaseAndState is gone through one by one: Django would run a
    RunPython there even while it collects.
    """
    if _does_nothing(operation, backwards=backwards):
        return [], []
    if _is_plain_separation(operation):
        return _collect_parts(operation, app_label, editor, before, backwards=backwards)
    if not operation.reduces_to_sql:
        return [], [_no_sql(operation, backwards=backwards)]
    try:
        with contained(editor.connection):
            if backwards:
                operation.database_backwards(app_label, editor, after, before)
            else:
                operation.database_forwards(app_label, editor, before, after)
    except (
        Error,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        NotImplementedError,
    ) as error:
        # Constraints that an earlier operation of this plan makes are not there to be looked up;
        # and whatever writes at once is refused.
        words = " ".join(str(error).split()) or type(error).__name__
        problem = Hazard(
            code=Code.UNKNOWN_SQL,
            table=None,
            message=f"Its SQL cannot be told before it runs: {words.rstrip('.')}.",
        )
        return take(editor), [problem]
    return take(editor), []


def take(editor: BaseDatabaseSchemaEditor, *, run_deferred: bool = False) -> list[str]:
    """What the editor has collected since the last time, statement by statement."""
    if run_deferred:
        for statement in editor.deferred_sql:
            editor.execute(statement, None)
        editor.deferred_sql.clear()
    collected = list(editor.collected_sql)
    editor.collected_sql.clear()
    return [statement for text in collected for statement in split(text)]


def is_reversible(operation: Operation) -> bool:
    """Whether it can be undone, and whatever is inside it."""
    inner: Sequence[Operation] = getattr(operation, "database_operations", None) or ()
    return bool(operation.reversible) and all(is_reversible(part) for part in inner)


def description(operation: Operation) -> str:
    """In its own words, on one line."""
    return " ".join(str(operation.describe()).split())


def parts(operation: Operation) -> Iterator[Operation]:
    """What it does to the database: itself, or what is inside SeparateDatabaseAndState."""
    if isinstance(operation, SeparateDatabaseAndState):
        for part in operation.database_operations:
            yield from parts(part)
    else:
        yield operation


def _is_plain_separation(operation: Operation) -> bool:
    return (
        isinstance(operation, SeparateDatabaseAndState)
        and type(operation).database_forwards is SeparateDatabaseAndState.database_forwards
        and type(operation).database_backwards is SeparateDatabaseAndState.database_backwards
    )


def _collect_parts(
    operation: Operation,
    app_label: str,
    editor: BaseDatabaseSchemaEditor,
    before: ProjectState,
    *,
    backwards: bool,
) -> tuple[list[str], list[Hazard]]:
    steps = []
    state = before
    for part in getattr(operation, "database_operations", ()):
        reached = state.clone()
        part.state_forwards(app_label, reached)
        steps.append((part, state, reached))
        state = reached
    sql: list[str] = []
    problems: list[Hazard] = []
    for part, old, new in reversed(steps) if backwards else steps:
        statements, found = collect(part, app_label, editor, old, new, backwards=backwards)
        sql.extend(statements)
        problems.extend(found)
    return sql, problems


def _does_nothing(operation: Operation, *, backwards: bool) -> bool:
    """Whether it cannot be told as SQL because there is none; rules are counted by themselves."""
    if isinstance(operation, RunPython):
        return (operation.reverse_code if backwards else operation.code) is RunPython.noop
    return isinstance(operation, RefuseRows | MoveRows)


def _no_sql(operation: Operation, *, backwards: bool) -> Hazard:
    what = "This operation"
    if isinstance(operation, RunPython):
        code = operation.reverse_code if backwards else operation.code
        what = f"Python code ({getattr(code, '__qualname__', repr(code))})"
    return Hazard(
        code=Code.UNKNOWN_SQL,
        table=None,
        message=f"{what} runs here, and what it reads, writes and locks is not known before.",
    )
