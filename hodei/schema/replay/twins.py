"""Migrations as they can run in one transaction: their transactional twins.

CONCURRENTLY is left out, and a statement that would end the transaction is refused before it is
sent. In a transaction that is rolled back RunPython is not run, an extension is only noted, and a
statement that reaches out is refused; in one that is to be kept, all of that is as it is.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.migrations import Migration
from django.db.migrations.operations import RunPython, SeparateDatabaseAndState
from django.db.migrations.operations.base import Operation

from hodei.schema.errors import SchemaError
from hodei.schema.plan.tokens import Kind, Token, split, tokens

_REMARKABLE = re.compile(
    r"\b(concurrently|commit|rollback|begin|end|abort|start|prepare|vacuum|nextval|setval)\b",
    re.IGNORECASE,
)
_ENDS_A_TRANSACTION = ("commit", "begin", "end", "abort", "start", "prepare")


class StatementRefused(SchemaError):  # noqa: N818  (it reads as the fact it states)
    """A statement cannot be run without leaving something behind."""

    exit_code = 3


@dataclass(slots=True)
class Notes:
    """What the twins left out, for the report."""

    #: ``app.migration`` of each RunPython.
    python: list[str] = field(default_factory=list)
    #: Extensions that migrations create.
    extensions: set[str] = field(default_factory=set)


def transactional(sql: str, *, kept: bool = False) -> str:
    """Return what to send in place of a script: the same without CONCURRENTLY and VACUUM.

    Raises StatementRefused for transaction control, and, unless the transaction is to be ``kept``,
    for nextval and setval of a sequence that is named with its schema: what they do is not rolled
    back.
    """
    if not _REMARKABLE.search(sql):
        return sql
    sent = []
    for statement in split(sql):
        words = tokens(statement)
        if not words or words[0].is_word("vacuum"):
            continue
        _refuse_control(statement, words)
        if not kept:
            _refuse_reaching(statement, words)
        sent.append(_without(statement, [w for w in words if w.is_word("concurrently")]))
    return ";\n".join(sent) or "SELECT 1"


def _refuse_control(statement: str, words: Sequence[Token]) -> None:
    to_savepoint = any(word.is_word("to") for word in words[1:4])
    if words[0].is_word(*_ENDS_A_TRANSACTION) or (
        words[0].is_word("rollback") and not to_savepoint
    ):
        raise StatementRefused(f"it controls the transaction itself ({_shown(statement)})")


def _refuse_reaching(statement: str, words: Sequence[Token]) -> None:
    for word, _sign, argument in zip(words, words[1:], words[2:], strict=False):
        is_string = argument.kind is Kind.STRING
        if word.is_word("nextval", "setval") and is_string and "." in argument.text:
            raise StatementRefused(f"it moves a sequence of another schema ({_shown(statement)})")


def _without(statement: str, words: Sequence[Token]) -> str:
    for word in reversed(words):
        statement = statement[: word.start] + statement[word.end :].removeprefix(" ")
    return statement


def _shown(statement: str) -> str:
    text = " ".join(statement.split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def twin_of(
    migration: Migration, notes: Notes, check: Callable[[str], None], *, kept: bool = False
) -> Migration:
    """A copy of the migration whose operations are twins; ``check`` is called after each, with
    what it was. ``kept``: for a transaction that is to be committed."""
    twin: Any = copy.copy(migration)
    label = f"{migration.app_label}.{migration.name}"
    twin.operations = [
        _twin(operation, label, notes, check, kept=kept) for operation in migration.operations
    ]
    return twin  # type: ignore[no-any-return]


def _twin(
    operation: Operation, label: str, notes: Notes, check: Callable[[str], None], *, kept: bool
) -> Operation:
    twin: Any = copy.copy(operation)
    if isinstance(operation, RunPython) and not kept:
        if operation.code is not RunPython.noop:
            notes.python.append(label)
        twin.database_forwards = _nothing
        return twin  # type: ignore[no-any-return]
    if isinstance(operation, SeparateDatabaseAndState):
        twin.database_operations = [
            _twin(one, label, notes, check, kept=kept) for one in operation.database_operations
        ]
        return twin  # type: ignore[no-any-return]
    if _creates_extension(operation) and not kept:
        notes.extensions.add(twin.name)
        twin.database_forwards = _nothing
        return twin  # type: ignore[no-any-return]
    if hasattr(operation, "_ensure_not_in_transaction"):
        twin._ensure_not_in_transaction = _nothing  # noqa: SLF001  (Django's guard of CONCURRENTLY)
    forwards = operation.__class__.database_forwards

    def run(*arguments: Any, **options: Any) -> None:
        forwards(twin, *arguments, **options)
        check(f"{type(operation).__name__} of {label}")

    twin.database_forwards = run
    return twin  # type: ignore[no-any-return]


def _nothing(*_arguments: Any, **_options: Any) -> None:
    """In place of what is not run."""


def _creates_extension(operation: Operation) -> bool:
    # By name along the line of classes: importing django.contrib.postgres is the project's choice.
    return any(kind.__name__ == "CreateExtension" for kind in type(operation).__mro__)
