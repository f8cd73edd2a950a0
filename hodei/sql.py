"""Statements that stand in files of their own: one statement each, with named parameters.

What several have in common stands in a file below ``sql/parts``, and in each of them a line
``\\ir parts/NAME.sql``, which psql understands, too.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

INCLUDE = "\\ir "


@cache
def statement(package: str, name: str) -> str:
    """Return the text of ``sql/NAME.sql`` of a package with its parts, without comments' lines."""
    text = files(package).joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
    return "\n".join(
        statement(package, line.removeprefix(INCLUDE).removesuffix(".sql"))
        if line.startswith(INCLUDE)
        else line
        for line in text.splitlines()
        if not line.startswith("--")
    )
