"""Which database a report is about, where there are several to mistake it for."""

from __future__ import annotations

from django.db import connections


def heading(database: str) -> list[str]:
    """The first line of a report for people; none in a project with one database."""
    return [f"Database: {database}"] if len(connections.settings) > 1 else []
