"""What an app says in its ``adoption.py`` of the past of its tables. Plain values.

    ADOPTION = Adoption(rows=(RowRepair(...), ...), relaxed={...})

All SQL is the app's own. It runs with the database's schema alone in the search path, so tables are
named without one, and in the one transaction of the adoption.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from hodei.schema.catalog.model import Relation


@dataclass(frozen=True, slots=True, kw_only=True)
class OlderShape:
    """A table in columns of an older release, from which a comparison alone finds no way."""

    table: str
    #: What it is called in the report, and what becomes of it.
    name: str
    becomes: str
    #: The columns by which it is known: a table that has all of them is of this shape.
    columns: frozenset[str]
    #: From the table as it is: the statements that convert it, and the table as it is after them.
    #: What differs from the baseline then is repaired as everywhere.
    convert: Callable[[Relation], tuple[tuple[str, ...], Relation]]
    #: The columns that it has only when it is converted, each as SQL from those it has now: rows
    #: are counted in them before anything is touched.
    reading: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRepair:
    """Rows that the baseline, or what comes after it, cannot hold, and what becomes of them."""

    table: str
    #: Which rows: the end of the sentence "3 rows of job_queue ...".
    found: str
    #: What becomes of them, as a clause.
    becomes: str
    #: SQL: the condition that these rows meet, in columns of the baseline.
    where: str
    #: Statements after which no row meets it any more. Nothing they replace may be lost.
    statements: tuple[str, ...]
    #: The subjects (``table.constraint``, ``table.column``) whose demands are met then.
    covers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignHistory:
    """The table in which another tool recorded the migrations it ran."""

    table: str
    #: Columns and their types by which its layout is known; another layout is left alone.
    columns: Mapping[str, str]
    #: A SELECT that gives name, started_at, success, duration_ms and checksum (text), in order.
    rows: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """Everything an app says. Without an ``adoption.py`` it says nothing of it."""

    older_shapes: tuple[OlderShape, ...] = ()
    #: In the order in which they run.
    rows: tuple[RowRepair, ...] = ()
    #: Constraints (``table.constraint``) that migrations after the baseline drop or replace by
    #: wider ones, with the SQL condition of what those allow; None where they allow anything.
    relaxed: Mapping[str, str | None] = field(default_factory=dict)
    #: Of each table: indexes of older releases that are no use any more, by name, or by their keys
    #: as ``(one, other)``. Other unexpected indexes are left.
    obsolete_indexes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    histories: tuple[ForeignHistory, ...] = ()
