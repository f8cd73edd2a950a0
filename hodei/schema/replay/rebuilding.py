"""The process that ``rebuild`` starts: migrations into a temporary database, its catalog out.

It reads the job as JSON from standard input and writes the answer to standard output; whatever the
migrations print goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any


def main() -> int:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    job = json.load(sys.stdin)
    _point_aliases(job["alias"], job["database"])
    import django  # noqa: PLC0415  (the databases must be known before)

    django.setup()
    with answers:
        json.dump(_build(job), answers)
    return 0


def _point_aliases(alias: str, database: Mapping[str, Any]) -> None:
    """Let the alias and ``default`` be the temporary database, and the others nothing at all."""
    from django.conf import settings  # noqa: PLC0415

    known: dict[str, Any] = settings.DATABASES
    options = dict((known.get(alias) or {}).get("OPTIONS") or {})
    options.pop("pool", None)
    for name in list(known):
        known[name] = {"ENGINE": "django.db.backends.dummy", "NAME": ""}
    for name in (alias, "default"):
        known[name] = {**database, "OPTIONS": options}


def _build(job: Mapping[str, Any]) -> dict[str, Any]:
    from django.db import connections  # noqa: PLC0415
    from django.db.migrations.loader import MigrationLoader  # noqa: PLC0415
    from django.db.transaction import atomic  # noqa: PLC0415

    from hodei.schema.catalog.inspection import read_catalog  # noqa: PLC0415
    from hodei.schema.replay.forwards import Forwards  # noqa: PLC0415
    from hodei.schema.replay.makers import Makers  # noqa: PLC0415
    from hodei.schema.replay.scratch import synchronise  # noqa: PLC0415
    from hodei.schema.replay.sessions import never_kept  # noqa: PLC0415

    connection = connections[job["alias"]]
    notes = _prepare(connection, job["schema"], job["extensions"])
    loader = MigrationLoader(None, ignore_no_migrations=True)
    forwards = Forwards(connection, loader.unmigrated_apps, kept=True)
    makers = Makers(connection)
    for app, names in groupby(job["migrations"], key=itemgetter(0)):
        for _, name in names:
            migration = loader.disk_migrations[app, name]
            try:
                forwards.run(migration)
            except Exception as error:
                words = " ".join(str(error).split())
                raise SystemExit(f"{migration} raised {type(error).__name__}: {words}") from error
        if job["makers"]:
            with atomic(connection.alias):
                makers.look(app, job["schema"])
    synchronise(connection, loader, job["tables"])
    with never_kept(connection):
        catalog = read_catalog(connection, job["schema"])
    return {
        "catalog": catalog.to_json(rights=True),
        "role": catalog.role,
        "notes": notes,
        "makers": makers.to_json(),
    }


def _prepare(connection: Any, schema: str, extensions: list[list[str]]) -> list[str]:
    """Make the schema, and what extensions can be made, where they are in the real database."""
    from django.db import Error  # noqa: PLC0415

    notes = []
    quote = connection.ops.quote_name
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {quote(schema)}")
        for name, home in extensions:
            try:
                if not home.startswith("pg_"):
                    cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {quote(home)}")
                cursor.execute(
                    f"CREATE EXTENSION IF NOT EXISTS {quote(name)} SCHEMA {quote(home)} CASCADE"
                )
            except Error as error:
                words = " ".join(str(error).split())
                notes.append(f"Extension {name} could not be made in the rebuild ({words}).")
    return notes


if __name__ == "__main__":
    sys.exit(main())
