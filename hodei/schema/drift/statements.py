"""Pure: the SQL that would make an object what the migrations make it. Suggested, never run here.

Each statement is to be run by itself, outside of a transaction. Where PostgreSQL has a way that
locks for an instant only, that one is suggested: CONCURRENTLY, and NOT VALID followed by VALIDATE.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from hodei.schema.catalog.model import (
    Column,
    Constraint,
    Function,
    Index,
    Policy,
    Relation,
    Sequence,
    Trigger,
    Type,
)

_CREATE_INDEX = re.compile(r"^CREATE (UNIQUE )?INDEX ")


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(text: str | None) -> str:
    return "NULL" if text is None else "'" + text.replace("'", "''") + "'"


def comment(target: str, text: str | None) -> str:
    return f"COMMENT ON {target} IS {literal(text)}"


def alter(relation: Relation, action: str) -> str:
    words = {
        "view": "VIEW",
        "materialized view": "MATERIALIZED VIEW",
        "foreign table": "FOREIGN TABLE",
    }
    return f"ALTER {words.get(relation.kind, 'TABLE')} {quoted(relation.name)} {action}"


def column(made: Column) -> str:
    """The column as CREATE TABLE and ADD COLUMN take it."""
    parts = [quoted(made.name), made.type]
    if made.collation:
        parts.append(f"COLLATE {made.collation}")
    if made.generated is not None:
        parts.append(f"GENERATED ALWAYS AS ({made.generated}) {made.generated_kind}")
    elif made.identity:
        parts.append(f"GENERATED {made.identity} AS IDENTITY")
    elif made.default is not None:
        parts.append(f"DEFAULT {made.default}")
    if not made.nullable:
        parts.append("NOT NULL")
    return " ".join(parts)


def add_column(relation: Relation, made: Column) -> tuple[str, ...]:
    statements = [alter(relation, f"ADD COLUMN {column(made)}")]
    if made.comment is not None:
        statements.append(
            comment(f"COLUMN {quoted(relation.name)}.{quoted(made.name)}", made.comment)
        )
    return tuple(statements)


def add_constraint(relation: Relation, made: Constraint) -> tuple[str, ...]:
    state = ""
    if made.deferrable:
        state = " DEFERRABLE" + (" INITIALLY DEFERRED" if made.deferred else "")
    body = f"ADD CONSTRAINT {quoted(made.name)} {made.definition}{state}"
    # A partitioned table takes no NOT VALID foreign key before PostgreSQL 18.
    in_two = made.type in {"c", "f"} and relation.kind == "table"
    if not in_two:
        statements = [alter(relation, body)]
    else:
        statements = [alter(relation, f"{body} NOT VALID")]
        if made.validated:
            statements.append(alter(relation, f"VALIDATE CONSTRAINT {quoted(made.name)}"))
    if made.comment is not None:
        target = f"CONSTRAINT {quoted(made.name)} ON {quoted(relation.name)}"
        statements.append(comment(target, made.comment))
    return tuple(statements)


def drop_constraint(relation: Relation, name: str) -> str:
    return alter(relation, f"DROP CONSTRAINT {quoted(name)}")


def create_index(relation: Relation, made: Index, *, if_missing: bool = False) -> tuple[str, ...]:
    text = made.definition
    words = "INDEX "
    if relation.kind == "partitioned table":
        text = text.replace(" ON ONLY ", " ON ", 1)
    else:
        words += "CONCURRENTLY "
    if if_missing:
        words += "IF NOT EXISTS "
    statements = [_CREATE_INDEX.sub(lambda m: f"CREATE {m[1] or ''}{words}", text)]
    if made.comment is not None:
        statements.append(comment(f"INDEX {quoted(made.name)}", made.comment))
    return tuple(statements)


def drop_index(relation: Relation, name: str) -> str:
    how = "" if relation.kind == "partitioned table" else "CONCURRENTLY "
    return f"DROP INDEX {how}{quoted(name)}"


def create_trigger(relation: Relation, made: Trigger) -> tuple[str, ...]:
    statements = [made.definition]
    if made.enabled != "ENABLE":
        statements.append(alter(relation, f"{made.enabled} TRIGGER {quoted(made.name)}"))
    if made.comment is not None:
        target = f"TRIGGER {quoted(made.name)} ON {quoted(relation.name)}"
        statements.append(comment(target, made.comment))
    return tuple(statements)


def create_policy(relation: Relation, made: Policy) -> str:
    kind = "PERMISSIVE" if made.permissive else "RESTRICTIVE"
    text = (
        f"CREATE POLICY {quoted(made.name)} ON {quoted(relation.name)} AS {kind} "
        f"FOR {made.command} TO {', '.join(made.roles)}"
    )
    if made.using is not None:
        text += f" USING ({made.using})"
    if made.check is not None:
        text += f" WITH CHECK ({made.check})"
    return text


def create_relation(made: Relation) -> tuple[str, ...]:
    """The relation with all that is on it, but for its foreign keys: what they point at may have
    to be made first."""
    return (_create(made), *_details(made), *_security(made))


def _create(made: Relation) -> str:
    name = quoted(made.name)
    options = f" WITH ({', '.join(made.options)})" if made.options else ""
    if not made.holds_rows:
        return f"CREATE {made.kind.upper()} {name}{options} AS {made.definition}"
    table = f"CREATE {'UNLOGGED ' if made.unlogged else ''}TABLE {name}"
    if made.parent is not None:
        return f"{table} PARTITION OF {quoted(made.parent)} {made.bound}{options}"
    columns = ", ".join(column(one) for one in made.columns)
    parted = f" PARTITION BY {made.partition_key}" if made.partition_key else ""
    return f"{table} ({columns}){parted}{options}"


def _details(made: Relation) -> Iterator[str]:
    for one in made.columns:
        if one.comment is not None:
            yield comment(f"COLUMN {quoted(made.name)}.{quoted(one.name)}", one.comment)
    for constraint in made.constraints:
        if constraint.type != "f":
            yield from add_constraint(made, constraint)
    for index in made.indexes:
        yield from create_index(made, index)
    if made.comment is not None:
        yield comment_on_relation(made, made.comment)


def _security(made: Relation) -> Iterator[str]:
    if made.row_security:
        yield alter(made, "ENABLE ROW LEVEL SECURITY")
    if made.force_row_security:
        yield alter(made, "FORCE ROW LEVEL SECURITY")
    for policy in made.policies:
        yield create_policy(made, policy)
    if made.replica_identity != "DEFAULT" and made.holds_rows:
        yield alter(made, f"REPLICA IDENTITY {made.replica_identity}")


def comment_on_relation(relation: Relation, text: str | None) -> str:
    words = relation.kind.upper() if not relation.kind.startswith("partitioned") else "TABLE"
    return comment(f"{words} {quoted(relation.name)}", text)


def drop_relation(relation: Relation) -> tuple[str, ...]:
    words = relation.kind.upper() if not relation.kind.startswith("partitioned") else "TABLE"
    return (f"DROP {words} {quoted(relation.name)}",)


def sequence_body(made: Sequence) -> str:
    cycle = "CYCLE" if made.cycle else "NO CYCLE"
    return (
        f"AS {made.type} INCREMENT BY {made.increment} MINVALUE {made.minimum} "
        f"MAXVALUE {made.maximum} {cycle}"
    )


def owned_by(sequence: str, owner: tuple[str, str] | None) -> str:
    target = ".".join(quoted(part) for part in owner) if owner else "NONE"
    return f"ALTER SEQUENCE {quoted(sequence)} OWNED BY {target}"


def create_function(made: Function) -> tuple[str, ...]:
    statements = [made.definition]
    if made.comment is not None:
        statements.append(comment(f"{made.kind} {function_name(made)}", made.comment))
    return tuple(statements)


def function_name(made: Function) -> str:
    name, _parenthesis, arguments = made.name.partition("(")
    return f"{quoted(name)}({arguments}"


def create_type(made: Type) -> tuple[str, ...]:
    name = quoted(made.name)
    if made.kind == "enum":
        return (f"CREATE TYPE {name} AS ENUM ({', '.join(map(literal, made.parts))})",)
    if made.kind == "domain":
        return (f"CREATE DOMAIN {name} AS {' '.join(made.parts)}",)
    keyword = "RANGE " if made.kind == "range" else ""
    return (f"CREATE TYPE {name} AS {keyword}({', '.join(made.parts)})",)


def drop_type(made: Type) -> tuple[str, ...]:
    return (f"DROP {'DOMAIN' if made.kind == 'domain' else 'TYPE'} {quoted(made.name)}",)
