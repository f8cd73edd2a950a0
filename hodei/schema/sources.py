"""Where a migration's text is."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from hodei.schema.checksums import fingerprint

if TYPE_CHECKING:
    from django.db.migrations import Migration


def source_of(migration: Migration) -> str | None:
    """Return the source of the module that defines the migration, or None where there is none:
    a compiled file alone, or a class made at run time."""
    module = sys.modules.get(type(migration).__module__)
    loader = getattr(getattr(module, "__spec__", None), "loader", None)
    if loader is None or not hasattr(loader, "get_source"):
        return None
    try:
        source: str | None = loader.get_source(type(migration).__module__)
    except (ImportError, OSError):
        return None
    return source


def checksum_of(migration: Migration) -> str | None:
    """Return the fingerprint of the migration as it is on disk, or None without a source."""
    source = source_of(migration)
    if source is None:
        return None
    try:
        return fingerprint(source)
    except (SyntaxError, RecursionError):
        # It ran, so the text has been changed since it was loaded. No reason to fail a run.
        return None
