"""A file with the schema that the migrations build: to be compared with where a replay cannot run.

JSON, sorted and indented, one per major version of PostgreSQL (each prints definitions in its own
words), to be kept in version control and looked at in review. The keys:

- ``format_version``: 1
- ``postgresql``: the major version of the server that printed it
- ``migrations``: what was applied, each as ``app.name``, sorted
- ``relations``, ``sequences``, ``functions``, ``types``, ``extensions``: see ``catalog``
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from hodei.schema.catalog.model import Catalog
from hodei.schema.drift import BOOKKEEPING
from hodei.schema.errors import SchemaError
from hodei.schema.replay.scratch import Expected
from hodei.schema.results import MigrationKey

FORMAT_VERSION = 1


class SnapshotUnusable(SchemaError):  # noqa: N818  (it reads as the fact it states)
    """The file cannot be compared with: it is none, or of something else."""

    exit_code = 3


def write_snapshot(catalog: Catalog, migrations: Collection[MigrationKey]) -> str:
    """Return the file's text. The same schema and migrations give the same text."""
    document = catalog.without(*BOOKKEEPING).to_json()
    server = document.pop("server")
    whole = {
        "format_version": FORMAT_VERSION,
        "postgresql": server,
        "migrations": sorted(".".join(key) for key in migrations),
        **document,
    }
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def read_snapshot(path: Path, *, server: int, migrations: Collection[MigrationKey]) -> Expected:
    """Read what this database should be. Raises SnapshotUnusable where the file is unreadable, of
    another major version of PostgreSQL, or of other migrations than those applied."""
    document = _document(path)
    if document["postgresql"] != server:
        raise SnapshotUnusable(
            f"{path} was written by PostgreSQL {document['postgresql']}, and this is {server}: "
            "definitions read otherwise there. Compare with the file of this version; "
            "schema_snapshot writes it."
        )
    wanted, has = set(document["migrations"]), {".".join(key) for key in migrations}
    if wanted != has:
        raise SnapshotUnusable(
            f"{path} is of other migrations than this database has"
            f"{_named(' without', has - wanted)}{_named(' with', wanted - has)}. "
            "Compare with the file of the release that runs here, or migrate first."
        )
    try:
        catalog = Catalog.from_json({**document, "server": server})
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable(path, f"{type(error).__name__}: {error}") from error
    return Expected(catalog=catalog)


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _unreadable(path, str(error.strerror)) from error
    except ValueError as error:
        raise _unreadable(path, str(error)) from error
    if not isinstance(document, dict) or document.get("format_version") != FORMAT_VERSION:
        raise _unreadable(path, f"its format_version is not {FORMAT_VERSION}")
    keys = {"postgresql": int, "migrations": list}
    if any(not isinstance(document.get(key), kind) for key, kind in keys.items()):
        raise _unreadable(path, "it names no PostgreSQL version or no migrations")
    return document


def _unreadable(path: Path, words: str) -> SnapshotUnusable:
    return SnapshotUnusable(
        f"{path} is no snapshot that can be read ({words}). Write it with schema_snapshot."
    )


def _named(word: str, names: Iterable[str]) -> str:
    listed = sorted(names)
    if not listed:
        return ""
    more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
    return f"{word} {', '.join(listed[:3])}{more};"
