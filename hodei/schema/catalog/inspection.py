"""Reads a schema of a database into a Catalog."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from hodei.schema.catalog import queries
from hodei.schema.catalog.model import (
    Catalog,
    Column,
    Constraint,
    Function,
    Index,
    IndexKey,
    Policy,
    Relation,
    Trigger,
    Type,
)
from hodei.schema.catalog.model import Sequence as CatalogSequence

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

_KINDS = {
    "r": "table",
    "p": "partitioned table",
    "v": "view",
    "m": "materialized view",
    "f": "foreign table",
}
_TYPES = {"e": "enum", "d": "domain", "c": "composite", "r": "range"}
_REPLICA_IDENTITIES = {"d": "DEFAULT", "f": "FULL", "n": "NOTHING"}
_ENABLED = {"O": "ENABLE", "D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}
_COMMANDS = {"r": "SELECT", "a": "INSERT", "w": "UPDATE", "d": "DELETE", "*": "ALL"}
_ACTIONS = {
    "a": "NO ACTION",
    "r": "RESTRICT",
    "c": "CASCADE",
    "n": "SET NULL",
    "d": "SET DEFAULT",
}
# Bits of pg_index.indoption, and how SQL writes them.
_ORDERS = {0: "", 1: "DESC NULLS LAST", 2: "NULLS FIRST", 3: "DESC"}
# What stands in fields of its own, at the end of a constraint's definition.
_STATE = re.compile(r"(?: DEFERRABLE| INITIALLY DEFERRED| NOT VALID)+$")


Rows = Callable[[str], list[dict[str, Any]]]


def read_catalog(connection: BaseDatabaseWrapper, schema: str) -> Catalog:
    """Read the schema, in the caller's transaction, whose search path becomes this schema alone.

    Takes ACCESS SHARE for an instant on what it prints, so it waits behind uncommitted DDL: bound
    that wait first (``set_timeouts``).
    """
    with connection.cursor() as cursor:
        quoted = connection.ops.quote_name(schema)
        cursor.execute(f"SET LOCAL search_path TO {quoted}")

        def rows(query: str) -> list[dict[str, Any]]:
            cursor.execute(query, {"schema": quoted})
            names = [column.name for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

        cursor.execute("SELECT current_setting('server_version_num')::int / 10000, current_user")
        server, role = cursor.fetchone()
        return Catalog(
            server=server,
            role=role,
            relations={relation.name: relation for relation in _relations(rows)},
            sequences={row["name"]: _sequence(**row) for row in rows(queries.SEQUENCES)},
            functions={row["name"]: _function(quoted, **row) for row in rows(queries.FUNCTIONS)},
            types={row["name"]: _type(**row) for row in rows(queries.TYPES)},
            extensions=tuple(row["name"] for row in rows(queries.EXTENSIONS)),
            default_privileges=tuple(row["text"] for row in rows(queries.DEFAULT_PRIVILEGES)),
        )


def _relations(rows: Rows) -> Iterator[Relation]:
    parts: dict[str, dict[str, list[Any]]] = {}
    makers: tuple[tuple[str, str, Callable[..., object]], ...] = (
        (queries.COLUMNS, "columns", _column),
        (queries.INDEXES, "indexes", _index),
        (queries.CONSTRAINTS, "constraints", _constraint),
        (queries.TRIGGERS, "triggers", _trigger),
        (queries.POLICIES, "policies", _policy),
    )
    for query, part, make in makers:
        by_table = parts[part] = defaultdict(list)
        for row in rows(query):
            by_table[row.pop("relation")].append(make(**row))
    for row in rows(queries.RELATIONS):
        identity = _REPLICA_IDENTITIES.get(row["replica_identity"])
        index = row.pop("identity_index")
        row.update(
            kind=_KINDS[row["kind"]],
            options=tuple(sorted(row["options"])),
            replica_identity=identity or f"USING INDEX {index}",
            privileges=tuple(row["privileges"]),
        )
        found: dict[str, Any] = {
            part: tuple(by_table[row["name"]]) for part, by_table in parts.items()
        }
        yield Relation(**row, **found)


def _column(
    *,
    name: str,
    kind: str,
    nullable: bool,
    expression: str | None,
    identity: str,
    generated: str,
    collation: str | None,
    comment: str | None,
) -> Column:
    return Column(
        name=name,
        type=kind,
        nullable=nullable,
        default=None if generated else expression,
        identity={"a": "ALWAYS", "d": "BY DEFAULT"}.get(identity),
        generated=expression if generated else None,
        generated_kind={"s": "STORED", "v": "VIRTUAL"}.get(generated),
        collation=collation,
        comment=comment,
    )


def _index(
    *,
    name: str,
    definition: str,
    method: str,
    unique: bool,
    nulls_not_distinct: bool,
    key_count: int,
    valid: bool,
    ready: bool,
    predicate: str | None,
    options: list[str],
    comment: str | None,
    texts: list[str],
    numbers: list[int],
    orders: list[int],
    classes: list[str],
    collations: list[str],
) -> Index:
    return Index(
        name=name,
        definition=definition,
        method=method,
        unique=unique,
        nulls_not_distinct=nulls_not_distinct,
        keys=tuple(
            IndexKey(
                text=texts[place],
                is_expression=numbers[place] == 0,
                order=_ORDERS[orders[place]],
                operator_class=classes[place] or None,
                collation=collations[place] or None,
            )
            for place in range(key_count)
        ),
        included=tuple(texts[key_count:]),
        predicate=predicate,
        valid=valid,
        ready=ready,
        options=tuple(sorted(options)),
        comment=comment,
    )


def _constraint(
    *,
    name: str,
    kind: str,
    definition: str,
    validated: bool,
    deferrable: bool,
    deferred: bool,
    columns: list[str],
    target: str | None,
    target_columns: list[str],
    on_delete: str,
    on_update: str,
    index_valid: bool,
    comment: str | None,
) -> Constraint:
    return Constraint(
        name=name,
        type=kind,
        definition=_STATE.sub("", definition),
        validated=validated,
        deferrable=deferrable,
        deferred=deferred,
        columns=tuple(columns),
        target=target,
        target_columns=tuple(target_columns),
        on_delete=_ACTIONS.get(on_delete, ""),
        on_update=_ACTIONS.get(on_update, ""),
        index_valid=index_valid,
        comment=comment,
    )


def _trigger(*, name: str, definition: str, enabled: str, comment: str | None) -> Trigger:
    return Trigger(name=name, definition=definition, enabled=_ENABLED[enabled], comment=comment)


def _policy(
    *,
    name: str,
    command: str,
    permissive: bool,
    roles: list[str],
    using: str | None,
    check: str | None,
) -> Policy:
    return Policy(
        name=name,
        command=_COMMANDS[command],
        permissive=permissive,
        roles=tuple(roles),
        using=using,
        check=check,
    )


def _sequence(
    *,
    name: str,
    kind: str,
    increment: int,
    minimum: int,
    maximum: int,
    cycle: bool,
    table: str | None,
    column: str | None,
    is_identity: bool | None,
    comment: str | None,
) -> CatalogSequence:
    return CatalogSequence(
        name=name,
        type=kind,
        increment=increment,
        minimum=minimum,
        maximum=maximum,
        cycle=cycle,
        owned_by=(table, column) if table and column else None,
        is_identity=bool(is_identity),
        comment=comment,
    )


def _function(
    schema: str, *, name: str, definition: str, kind: str, comment: str | None
) -> Function:
    # The server writes the function's own schema whatever the search path.
    text = re.sub(
        rf"^(CREATE OR REPLACE (?:FUNCTION|PROCEDURE) ){re.escape(_as_printed(schema))}\.",
        r"\1",
        definition,
    )
    kinds = {"p": "PROCEDURE", "a": "AGGREGATE"}
    return Function(
        name=name,
        definition=text.rstrip(),
        kind=kinds.get(kind, "FUNCTION"),
        comment=comment,
    )


def _as_printed(quoted: str) -> str:
    """As quote_ident writes the name: without quotes where it needs none."""
    bare = quoted[1:-1]
    return bare if re.fullmatch(r"[a-z_][a-z0-9_]*", bare) else quoted


def _type(*, name: str, kind: str, parts: list[str], comment: str | None) -> Type:
    return Type(name=name, kind=_TYPES[kind], parts=tuple(parts), comment=comment)
