"""Pure: names of tables and columns, whatever they hold, for SQL and for people."""

from __future__ import annotations


def quoted(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))


def printable(name: str) -> str:
    """For people: a terminal would obey control characters."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def identifier(table: str) -> str:
    """A table for SQL. One that is quoted already, perhaps with its schema, stays as it is, as
    Django has it."""
    is_quoted = len(table) > 2 and table.startswith('"') and table.endswith('"')
    return table if is_quoted else quoted(table)
