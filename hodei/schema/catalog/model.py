"""A schema of a database as plain values: what is compared, and what a snapshot file holds.

Every text is the server's own, printed with the schema alone in the search path, so that the same
definition gives the same text whatever the schema is called. Nothing here knows Django or a
connection.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from operator import itemgetter
from typing import Any, TypeVar

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    name: str
    type: str
    nullable: bool
    #: None also for a generated column.
    default: str | None = None
    #: "ALWAYS", "BY DEFAULT" or None.
    identity: str | None = None
    #: The expression of a generated column, and how it is kept: "STORED" or "VIRTUAL".
    generated: str | None = None
    generated_kind: str | None = None
    #: Quoted as in SQL; None where it is the default of the type.
    collation: str | None = None
    comment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexKey:
    #: A column or an expression.
    text: str
    is_expression: bool = False
    #: "", "DESC", "NULLS FIRST" and the like, as the order differs from the default.
    order: str = ""
    #: None where it is the default of the type.
    operator_class: str | None = None
    collation: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    name: str
    definition: str
    method: str
    unique: bool
    nulls_not_distinct: bool = False
    keys: tuple[IndexKey, ...]
    included: tuple[str, ...] = ()
    predicate: str | None = None
    #: Built completely, and kept up to date by writes.
    valid: bool = True
    ready: bool = True
    options: tuple[str, ...] = ()
    comment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    name: str
    #: One of ``p``, ``u``, ``c``, ``x``, ``f``, ``t`` as PostgreSQL has them.
    type: str
    #: Without NOT VALID and without deferrability.
    definition: str
    validated: bool = True
    deferrable: bool = False
    deferred: bool = False
    columns: tuple[str, ...] = ()
    target: str | None = None
    target_columns: tuple[str, ...] = ()
    on_delete: str = ""
    on_update: str = ""
    #: Of the index behind a primary key, unique or exclusion constraint.
    index_valid: bool = True
    comment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    name: str
    definition: str
    #: "ENABLE", "DISABLE", "ENABLE REPLICA" or "ENABLE ALWAYS".
    enabled: str = "ENABLE"
    comment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    name: str
    command: str
    permissive: bool
    roles: tuple[str, ...]
    using: str | None
    check: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A table, a partitioned table, a view, a materialized view or a foreign table."""

    name: str
    #: "table", "partitioned table", "view", "materialized view" or "foreign table".
    kind: str
    columns: tuple[Column, ...]
    indexes: tuple[Index, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    triggers: tuple[Trigger, ...] = ()
    policies: tuple[Policy, ...] = ()
    unlogged: bool = False
    row_security: bool = False
    force_row_security: bool = False
    options: tuple[str, ...] = ()
    #: "DEFAULT", "FULL", "NOTHING" or "USING INDEX name".
    replica_identity: str = "DEFAULT"
    #: Of a view: its query.
    definition: str | None = None
    #: Of a partitioned table: its key.
    partition_key: str | None = None
    #: Of a partition: its parent and its bound. What it inherits is not listed a second time.
    parent: str | None = None
    bound: str | None = None
    comment: str | None = None
    owner: str | None = None
    #: Who may do what, each ``role=privileges``; the owner is written as ``(owner)``.
    privileges: tuple[str, ...] | None = None

    @property
    def holds_rows(self) -> bool:
        return self.kind in {"table", "partitioned table", "foreign table"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    name: str
    type: str
    increment: int
    minimum: int
    maximum: int
    cycle: bool
    #: Table and column that it belongs to, and whether it is that column's identity.
    owned_by: tuple[str, str] | None = None
    is_identity: bool = False
    comment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function, procedure or aggregate; its name is that with the types of its arguments."""

    name: str
    definition: str
    #: "FUNCTION", "PROCEDURE" or "AGGREGATE".
    kind: str
    comment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Type:
    """An enum, a domain, a composite or a range type."""

    name: str
    #: "enum", "domain", "composite" or "range".
    kind: str
    #: The labels of an enum; of another type the parts of its definition.
    parts: tuple[str, ...]
    comment: str | None = None


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """One schema, each kind of object by its name."""

    #: The major version of the server that printed the texts.
    server: int
    relations: Mapping[str, Relation] = field(default_factory=dict)
    sequences: Mapping[str, Sequence] = field(default_factory=dict)
    functions: Mapping[str, Function] = field(default_factory=dict)
    types: Mapping[str, Type] = field(default_factory=dict)
    #: Installed in the database, whatever the schema.
    extensions: tuple[str, ...] = ()
    #: Privileges that new tables of the schema are given, and the role that made the read.
    default_privileges: tuple[str, ...] = ()
    role: str | None = None

    @cached_property
    def owned(self) -> Mapping[tuple[str, str], Sequence]:
        """The sequences that belong to a column, by table and column."""
        return {one.owned_by: one for one in self.sequences.values() if one.owned_by is not None}

    def without(self, *tables: str) -> Catalog:
        """The same without these tables and the sequences that belong to them."""
        return replace(
            self,
            relations={n: r for n, r in self.relations.items() if n not in tables},
            sequences={
                name: sequence
                for name, sequence in self.sequences.items()
                if not sequence.owned_by or sequence.owned_by[0] not in tables
            },
        )

    def to_json(self, *, rights: bool = False) -> dict[str, Any]:
        """Plain values for a file; what is empty or the usual is left out, for readers' sake."""
        kinds = ("sequences", "functions", "types")
        found = self.relations.values()
        relations = found if rights else [replace(r, owner=None, privileges=None) for r in found]
        return {
            "server": self.server,
            "extensions": list(self.extensions),
            "relations": sorted(map(_plain, relations), key=itemgetter("name")),
            **{
                kind: [_plain(value) for _name, value in sorted(getattr(self, kind).items())]
                for kind in kinds
            },
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Catalog:
        """Raises KeyError, TypeError or ValueError where the document is none of ours."""
        return cls(
            server=int(document["server"]),
            extensions=tuple(document["extensions"]),
            relations={r["name"]: _relation(r) for r in document["relations"]},
            sequences={
                s["name"]: Sequence(**{**s, "owned_by": _tuple(s.get("owned_by"))})
                for s in document["sequences"]
            },
            functions={f["name"]: Function(**f) for f in document["functions"]},
            types={t["name"]: Type(**{**t, "parts": tuple(t["parts"])}) for t in document["types"]},
        )


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if not dataclasses.is_dataclass(value):
        return value
    return {
        part.name: _plain(getattr(value, part.name))
        for part in dataclasses.fields(value)
        if part.default is dataclasses.MISSING or getattr(value, part.name) != part.default
    }


def _tuple(found: Any) -> Any:
    return tuple(found) if isinstance(found, list) else found


def _made(kind: type[Value], found: Mapping[str, Any], **parts: Any) -> Value:
    return kind(**{**{name: _tuple(value) for name, value in found.items()}, **parts})


def _relation(found: Mapping[str, Any]) -> Relation:
    return _made(
        Relation,
        found,
        columns=tuple(_made(Column, one) for one in found["columns"]),
        indexes=tuple(
            _made(Index, one, keys=tuple(_made(IndexKey, key) for key in one["keys"]))
            for one in found.get("indexes", ())
        ),
        constraints=tuple(_made(Constraint, one) for one in found.get("constraints", ())),
        triggers=tuple(_made(Trigger, one) for one in found.get("triggers", ())),
        policies=tuple(_made(Policy, one) for one in found.get("policies", ())),
    )
