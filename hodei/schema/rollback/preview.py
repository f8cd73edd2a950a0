"""What a way back would undo and take along. It reads only, and makes nobody wait.

The SQL is collected and read (``statements``, ``losses``), never run: DDL in a transaction that is
rolled back would be surer, and would lock every table against everybody for as long as it takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hodei.schema.connection import connection_errors, require_postgresql
from hodei.schema.plan.session import reading
from hodei.schema.results import MigrationKey
from hodei.schema.rollback.choice import Choice, Step, choose
from hodei.schema.rollback.counting import Counted, count
from hodei.schema.rollback.losses import LiveTable, Losses, What, read_losses
from hodei.schema.rollback.statements import undo
from hodei.schema.rollback.targets import Wish

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """One way back, as it would be at this moment."""

    database: str
    steps: tuple[Step, ...]
    #: Those that are irreversible, each with the operation that makes it so.
    irreversible: tuple[tuple[MigrationKey, str], ...]
    losses: Losses
    counted: tuple[Counted, ...]
    #: What there is to know about the choice of the steps, in full sentences.
    notes: tuple[str, ...]

    @property
    def keys(self) -> tuple[MigrationKey, ...]:
        return tuple(step.key for step in self.steps)

    @property
    def not_atomic(self) -> tuple[MigrationKey, ...]:
        """The steps for which no transaction can hold all of them together."""
        return tuple(step.key for step in self.steps if not step.migration.atomic)

    @property
    def in_one_transaction(self) -> bool:
        return not self.not_atomic

    @property
    def whole(self) -> tuple[Counted, ...]:
        """What is counted, without the parts of tables that go as a whole."""
        return tuple(one for one in self.counted if not one.loss.within)

    @property
    def going(self) -> tuple[Counted, ...]:
        """What there is to tell: tables and columns in any case, and else what is not nothing."""
        return tuple(
            one
            for one in self.whole
            if one.loss.what in {What.TABLE, What.COLUMN} or one.affected != 0
        )

    @property
    def tables(self) -> list[LiveTable]:
        """The tables that lose something, each once."""
        return list({one.loss.table.oid: one.loss.table for one in self.going}.values())


def read_preview(using: str, wish: Wish) -> Preview:
    """Raises what ``choose`` does, ConnectionFailed and EngineNotSupported."""
    with _looking(using) as connection:
        choice = choose(connection, wish)
        way = undo(connection, choice) if choice.steps else []
        losses = read_losses(connection, way)
        return Preview(
            database=using,
            steps=choice.steps,
            irreversible=tuple(
                (undone.step, undone.description) for undone in way if not undone.reversible
            ),
            losses=losses,
            counted=tuple(count(connection, losses.found)),
            notes=choice.notes,
        )


def read_choice(using: str, wish: Wish) -> Choice:
    """The steps alone, which is quick."""
    with _looking(using) as connection:
        return choose(connection, wish)


@contextmanager
def _looking(using: str) -> Iterator[BaseDatabaseWrapper]:
    require_postgresql(using)
    with connection_errors(using), reading(using) as connection:
        yield connection
