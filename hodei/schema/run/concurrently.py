"""Statements that PostgreSQL runs CONCURRENTLY: no lock_timeout, and a second run after a failure.

A build that fails, or whose client dies, leaves an index behind that is never used and always
maintained, and the next attempt would trip over its name. And one that was killed between the build
and its record leaves a good index that needs no second build.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Any

from hodei.schema.errors import SchemaError

_NAME = r'(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)'
_CREATE = re.compile(
    rf"\s*CREATE\s+(?P<unique>UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+(?P<lenient>IF\s+NOT\s+EXISTS\s+)?"
    rf"(?P<name>{_NAME})\s+ON\s+(?:ONLY\s+)?(?P<table>{_NAME}(?:\.{_NAME})?)(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
_FIND = """
SELECT index.indisvalid, pg_get_indexdef(index.indexrelid), index.indexrelid::regclass::text,
       parent.relname
  FROM pg_class parent
  JOIN pg_class named ON named.relnamespace = parent.relnamespace
  JOIN pg_index index ON index.indexrelid = named.oid AND index.indrelid = parent.oid
 WHERE parent.oid = to_regclass(%s) AND named.relname = %s
"""


class IndexStands(SchemaError):  # noqa: N818  (it reads as the fact it states)
    """There is another index of that name on the table."""


class Verdict(Enum):
    """What has to be done about a statement."""

    RUN = auto()
    #: What it would build is there.
    DONE = auto()


def is_concurrent(statement: object) -> bool:
    """Whether it may be such a statement; a cheap look, for every statement of a run."""
    return isinstance(statement, str) and "CONCURRENTLY" in statement[:400].upper()


def clear_the_way(connection: Any, statement: str) -> tuple[Verdict, str | None]:
    """Look what an earlier attempt has left, and drop an invalid index. Outside a transaction.

    ``connection`` is psycopg's. Returns the verdict and what there is to tell about it. Raises
    IndexStands where a valid index of that name is not the one that the statement would build.
    """
    found = _CREATE.match(statement)
    if found is None:
        return Verdict.RUN, None
    name = _plain(found["name"])
    row = connection.execute(_FIND, [found["table"], name]).fetchone()
    if row is None:
        return Verdict.RUN, None
    valid, definition, index, table = row
    if not valid:
        connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index}")
        return Verdict.RUN, f"index {name} was left invalid by a failed build; it is built again"
    wanted = _definition_of(connection, found, table)
    if _meaning(wanted) == _meaning(definition):
        return Verdict.DONE, f"index {name} is there, valid and as it should be; it is not rebuilt"
    if found["lenient"]:
        return Verdict.RUN, None
    raise IndexStands(
        f"Index {name} is on table {table} already, and not as the migration builds it: found "
        f"{_meaning(definition)}, wanted {_meaning(wanted)}. Rename or drop one of them."
    )


def _definition_of(connection: Any, found: re.Match[str], table: str) -> str:
    """What the server makes of the statement, asked of an empty temporary twin of the table."""
    twin = f'"{table.replace(chr(34), chr(34) * 2)}"'
    with connection.transaction(force_rollback=True):
        connection.execute(f"CREATE TEMPORARY TABLE {twin} (LIKE {found['table']})")
        connection.execute(
            f"CREATE {found['unique'] or ''}INDEX {found['name']} ON pg_temp.{twin} {found['rest']}"
        )
        row = connection.execute(_FIND, [f"pg_temp.{twin}", _plain(found["name"])]).fetchone()
    return str(row[1])


def _meaning(definition: str) -> str:
    """The definition without the names of index and table."""
    head, _, rest = definition.partition(" USING ")
    return f"{'UNIQUE ' if head.startswith('CREATE UNIQUE') else ''}{rest}"


def _plain(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()
