"""Pure: whether a statement can touch nothing but what its unqualified names mean.

With one schema in the search path that is this schema and the system's catalogs. Only what is
plainly so counts: most statements of Django's schema editor are. Where a name has a schema, a
function is called, or something is written in a way that is not looked into here, the answer is no,
and the locks are read after it.
"""

from __future__ import annotations

import re

_STRING = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")
_NAME = r'(?:""|\w+)'
_FORM = re.compile(
    rf"""\s*(?:
        CREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?{_NAME}\s*\(
      | CREATE\s+(?:UNIQUE\s+)?INDEX\b
      | ALTER\s+TABLE\s+(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?{_NAME}\s+(?:ADD|ALTER|DROP|RENAME)\b
      | DROP\s+(?:TABLE|INDEX)\b
      | COMMENT\s+ON\s+(?:TABLE|INDEX|CONSTRAINT)\b
    )""",
    re.IGNORECASE | re.VERBOSE,
)
_COLUMN = re.compile(rf"COMMENT\s+ON\s+COLUMN\s+{_NAME}\.{_NAME}\s+IS\s+(?:''|NULL)", re.IGNORECASE)
# Another way to quote, a comment, a qualified name, a word that reaches on.
_ODD = re.compile(
    r"""
      \$ | \\ | -- | /\* | \w'' | &'' | (?<!\d)\. | \.(?!\d)
    | \b(?:select|values|execute|schema|trigger|rule|like|inherits|of|owner)\b
    | \)\s*as\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
_CALL = re.compile(rf"(?:\b(\w+)\s+)?({_NAME})\s*\(")
#: What may stand before a parenthesis: types, words of DDL, and functions of the system's own
#: catalog, which is searched first and has them without arguments.
_HARMLESS = re.compile(
    "char|character|varying|varchar|bpchar|bit|numeric|decimal|float|time|timestamp|timestamptz|"
    "interval|check|key|unique|in|and|or|not|include|as|default|where|with|any|array|identity|"
    "btree|hash|gin|gist|spgist|brin|now|gen_random_uuid",
    re.IGNORECASE,
)
#: After these stands the name of a table.
_BEFORE_TABLES = frozenset({"table", "exists", "on", "only", "references"})


def stays_inside(script: str) -> bool:
    """Whether it takes locks in the schema of the search path alone. False where it is not plain.

    It is not asked about event triggers: where there are any, every statement may do anything.
    """
    plain = _STRING.sub(lambda found: found[0][0] * 2, script)
    statements = [part for part in plain.split(";") if part.strip()]
    return bool(statements) and all(map(_stays_inside, statements))


def _stays_inside(plain: str) -> bool:
    """The same of one statement, whose strings and quoted names have been emptied."""
    if _COLUMN.fullmatch(plain.strip()):
        return True
    if _FORM.match(plain) is None or _ODD.search(plain) is not None:
        return False
    return all(
        _HARMLESS.fullmatch(name) or before.lower() in _BEFORE_TABLES
        for before, name in _CALL.findall(plain)
    )
