"""Pure: the values of a plan: what is to be done to a database, and why it cannot be, if so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from hodei.schema.adoption.baselines import Baseline
from hodei.schema.adoption.repairs import Step, StepKind
from hodei.schema.adoption.variants import ForeignHistory
from hodei.schema.catalog.model import Catalog
from hodei.schema.results import MigrationKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What the files on disk say of the baselines that are not recorded here."""

    baselines: tuple[Baseline, ...]
    #: By app: what the baseline makes. Also of apps none of whose tables are here.
    builds: Mapping[str, Catalog]
    #: By app: each table of its newest migrations, with its columns.
    newest: Mapping[str, Mapping[str, frozenset[str]]]
    #: Every table that some installed app accounts for.
    known: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class AppPlan:
    """What is to be done to the tables of one app, in order."""

    baseline: Baseline
    #: How many of its tables are there, and how many it has.
    found: int
    total: int
    steps: tuple[Step, ...]
    #: Constraints that stand, and that old rows have not been held against.
    unproved: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """Another tool's record of its migrations, to be copied into the history."""

    history: ForeignHistory
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """For one database. It can be carried out where ``obstacles`` is empty."""

    database: str
    schema: str
    apps: tuple[AppPlan, ...]
    #: Why nothing can be done as things are; full sentences.
    obstacles: tuple[str, ...]
    imports: tuple[Import, ...]
    #: What is on the baselines' tables, is known to nobody here, and stays; in a few words each.
    left: tuple[str, ...]
    #: Names of tables that are nobody's here, and stay.
    others: tuple[str, ...]

    def changes(self) -> tuple[tuple[str, ...], ...]:
        """What somebody agrees to: the statements. Rows are left out, they come and go."""
        return tuple(
            step.statements
            for app in self.apps
            for step in app.steps
            if step.kind is not StepKind.ROWS
        )

    def tables(self) -> list[str]:
        """The tables that are there and will be changed."""
        steps = [step for app in self.apps for step in app.steps if step.statements]
        made = {step.table for step in steps if step.makes_its_table}
        return sorted({step.table for step in steps if step.table is not None} - made)


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """Where the adoption of a database stands."""

    #: None where every baseline with tables here is recorded.
    plan: Plan | None
    ground: Ground | None
    #: What the baselines depend on and is not applied; ``migrate`` does it first.
    before: tuple[MigrationKey, ...]
    #: How many migrations follow.
    after: int
    #: When this database was adopted, by app; empty where it never was.
    adopted: Mapping[str, datetime]
