"""What the applied migrations build, in a temporary database: for what cannot be replayed beside
the real tables.

A process of its own replays them, in which the alias, and ``default``, mean the temporary database
and every other alias means nothing: so RunPython runs, and reaches nothing real. The database is
dropped in any case; one that a killed process left behind is dropped by the next rebuild.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hodei.schema.catalog.model import Catalog
from hodei.schema.errors import SchemaError
from hodei.schema.replay.makers import Makers
from hodei.schema.replay.scratch import Expected
from hodei.schema.results import MigrationKey

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

_NAME = re.compile(r"^hodei_rebuild_(\d+)_[0-9a-f]{8}$")
#: An orphan is at least this old, in seconds, and nobody is connected to it.
_ORPHANED_AFTER = 600
_COMMENT = "Temporary, a rebuild of {}; it may be dropped when nobody is connected."


class RebuildFailed(SchemaError):  # noqa: N818  (it reads as the fact it states)
    """The temporary database could not be made, or the migrations do not run in it."""

    exit_code = 3


def rebuild(
    connection: BaseDatabaseWrapper,
    migrations: Sequence[MigrationKey],
    live: Catalog,
    schema: str,
    makers: Makers | None = None,
) -> Expected:
    """Replay these migrations, in this order, on the same server. Needs CREATEDB.

    ``makers``, where given, learns which app has made what. The connection must be outside of a
    transaction. Raises RebuildFailed.
    """
    with _temporary_database(connection) as name:
        job = {
            "alias": connection.alias,
            "database": _settings(connection, name),
            "migrations": [list(key) for key in migrations],
            "schema": schema,
            "extensions": _extensions(connection),
            "tables": sorted(live.relations),
            "makers": makers is not None,
        }
        answer = _run(job)
    if makers is not None:
        makers.from_json(answer["makers"])
    catalog = Catalog.from_json(answer["catalog"])
    return Expected(
        catalog=replace(catalog, extensions=(), role=answer["role"]), notes=tuple(answer["notes"])
    )


@contextmanager
def _temporary_database(connection: BaseDatabaseWrapper) -> Iterator[str]:
    from django.db import Error  # noqa: PLC0415  (the child imports this before Django is set up)

    name = f"hodei_rebuild_{int(time.time())}_{secrets.token_hex(4)}"
    quoted = connection.ops.quote_name(name)
    try:
        with connection.cursor() as cursor:
            _sweep(cursor)
            cursor.execute(
                "SELECT datname, pg_encoding_to_char(encoding), datcollate, datctype "
                "FROM pg_database WHERE datname = current_database()"
            )
            original, encoding, collate, ctype = cursor.fetchone()
            cursor.execute(
                f"CREATE DATABASE {quoted} TEMPLATE template0 ENCODING %s LC_COLLATE %s "
                "LC_CTYPE %s",
                [encoding, collate, ctype],
            )
            cursor.execute(f"COMMENT ON DATABASE {quoted} IS %s", [_COMMENT.format(original)])
            # It may be this database's own, and then no setting of Django's would bring it along.
            cursor.execute(f"ALTER DATABASE {quoted} SET search_path FROM CURRENT")
    except Error as error:
        words = " ".join(str(error).split())
        raise RebuildFailed(
            f'No temporary database could be made ("{words}"). Grant CREATEDB to the role, or use '
            "--expected with a file of schema_snapshot."
        ) from error
    try:
        yield name
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {quoted} WITH (FORCE)")


def _sweep(cursor: Any) -> None:
    cursor.execute(
        "SELECT datname FROM pg_database d WHERE datname LIKE 'hodei\\_rebuild\\_%%' "
        "AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datname = d.datname) "
        "AND pg_has_role(current_user, datdba, 'USAGE')"
    )
    for (name,) in cursor.fetchall():
        match = _NAME.match(name)
        if match and time.time() - int(match[1]) > _ORPHANED_AFTER:
            cursor.execute(f'DROP DATABASE IF EXISTS "{name}"')


def _extensions(connection: BaseDatabaseWrapper) -> list[list[str]]:
    """Name and schema of each: types of theirs may be used, and are printed with the schema."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT extname, nspname FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace "
            "WHERE extname <> 'plpgsql' ORDER BY extname"
        )
        return [list(row) for row in cursor.fetchall()]


def _settings(connection: BaseDatabaseWrapper, name: str) -> dict[str, Any]:
    """How the child reaches the temporary database: as this connection reached its own."""
    info = connection.connection.info
    settings = {
        key: value
        for key, value in connection.settings_dict.items()
        if isinstance(value, str | int | float | bool | type(None))
    }
    return {
        **settings,
        "NAME": name,
        "HOST": info.host or settings.get("HOST", ""),
        "PORT": str(info.port or settings.get("PORT", "")),
        "USER": info.user,
        "PASSWORD": info.password or settings.get("PASSWORD", ""),
    }


def _run(job: dict[str, Any]) -> Any:
    """Give the job to a process of its own by its standard input: it holds a password."""
    from django.conf import settings  # noqa: PLC0415

    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(part for part in sys.path if part)}
    if settings.configured and getattr(settings, "SETTINGS_MODULE", None):
        environment["DJANGO_SETTINGS_MODULE"] = str(settings.SETTINGS_MODULE)
    done = subprocess.run(
        [sys.executable, "-m", "hodei.schema.replay.rebuilding"],
        input=json.dumps(job),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        words = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RebuildFailed(
            f"The migrations do not run in an empty database: {words}. Until they do, compare "
            "with --expected and a file of schema_snapshot --live."
        )
    return json.loads(done.stdout)
