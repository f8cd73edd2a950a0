"""Statements that stand in files of their own: one statement each, with named parameters."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def statement(package: str, name: str) -> str:
    """Return the text of ``sql/NAME.sql`` of a package, without its comments' lines."""
    text = files(package).joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
    return "\n".join(line for line in text.splitlines() if not line.startswith("--"))
