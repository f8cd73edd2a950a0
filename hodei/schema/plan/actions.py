"""Pure: what a statement does, in the few terms that matter to who runs it on a live database."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hodei.schema.plan.locks import LockMode
from hodei.schema.plan.reading import Name


class Does(StrEnum):
    """One thing that a statement does to a table."""

    CREATE_TABLE = "create table"
    DROP_TABLE = "drop table"
    #: ``detail``: the new name.
    RENAME_TABLE = "rename table"
    #: ``detail``: the new name.
    RENAME_COLUMN = "rename column"
    DROP_COLUMN = "drop column"
    #: ``detail``: the type. What else a new column costs is an action of its own.
    ADD_COLUMN = "add column"
    #: ``detail``: the new type.
    CHANGE_TYPE = "change type"
    SET_NOT_NULL = "set not null"
    #: Every row is written anew; ``detail``: why.
    REWRITE = "rewrite"
    #: The same, if a function that is unknown here is volatile; ``detail``: the function.
    MAY_REWRITE = "may rewrite"
    #: Every row is read; ``detail``: what for.
    SCAN = "scan"
    #: ``detail``: the index, or the constraint that has one.
    BUILD_INDEX = "build index"
    #: ``detail``: the index.
    DROP_INDEX = "drop index"
    #: ``column`` where the check says that it is not null; ``detail``: the constraint.
    ADD_CHECK = "add check"
    #: The same, without reading the rows that are there.
    ADD_CHECK_NOT_VALID = "add check not valid"
    #: ``target``: the table referred to; ``detail``: the constraint.
    ADD_FOREIGN_KEY = "add foreign key"
    #: ``detail``: the constraint.
    VALIDATE = "validate"
    #: ``detail``: the constraint.
    DROP_CONSTRAINT = "drop constraint"
    #: Rows, or whole objects, are gone afterwards; ``detail``: what.
    LOSE = "lose"


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One of them, and to what. ``table`` is None where no single table is meant."""

    does: Does
    table: Name | None = None
    column: str | None = None
    detail: str = ""
    target: Name | None = None


class Reach(StrEnum):
    """Which relation is locked, seen from the one that the statement names."""

    ITSELF = "itself"
    #: The table of the index that is named.
    TABLE_OF_INDEX = "table of index"
    #: The table that the foreign key ``part`` refers to.
    TARGET_OF_CONSTRAINT = "target of constraint"
    #: The tables that foreign keys on the column ``part`` refer to.
    TARGETS_OF_COLUMN = "targets of column"
    #: The tables that any foreign key of it refers to.
    TARGETS_OF_TABLE = "targets of table"
    #: The tables whose foreign keys refer to it.
    REFERRERS = "referrers"
    #: The tables whose foreign keys refer to the column ``part``.
    REFERRERS_TO_COLUMN = "referrers to column"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """A table lock the statement takes."""

    relation: Name
    mode: LockMode
    reach: Reach = Reach.ITSELF
    part: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """What a statement does. ``is_known`` is False where its locks cannot be told from its text."""

    is_known: bool = True
    locks: tuple[Lock, ...] = ()
    actions: tuple[Action, ...] = ()
    #: It refuses to run inside a transaction.
    is_concurrent: bool = False


UNKNOWN = Analysis(is_known=False)
