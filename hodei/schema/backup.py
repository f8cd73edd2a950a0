"""A copy of some tables in a file, before they go: made by pg_dump, and read back to be believed.

The file is pg_dump's custom format, for its owner alone (0600); one command restores it:

    pg_restore --dbname postgresql://USER@HOST/NAME FILE

Where the tables are there again, ``--clean --if-exists --single-transaction`` puts the old ones in
their place.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hodei.schema.connection import connection_errors
from hodei.schema.errors import SchemaError
from hodei.schema.names import identifier, quoted
from hodei.schema.run.sidecar import pooled, shares_sessions

if TYPE_CHECKING:
    from django.db.backends.postgresql.base import DatabaseWrapper

#: Where Debian's packages put the programs of each major version.
_INSTALLED = "/usr/lib/postgresql"

_QUOTED_TEXT = 400

#: For a table that somebody holds against readers. Its own default is to wait for ever.
_LOCK_WAIT_MS = 10_000


class BackupFailed(SchemaError):  # noqa: N818  (it reads as the fact it states)
    """There is no backup that could be trusted, and no file of it. Nothing else was touched."""

    exit_code = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A backup that was read back: every table that was asked for is in it."""

    path: Path
    tables: tuple[str, ...]
    size_bytes: int
    #: The pg_restore that has read it.
    restorer: Path


def back_up(
    connection: DatabaseWrapper, tables: Sequence[str], path: Path, *, also: Sequence[str] = ()
) -> Backup:
    """Write the tables, with their data and what belongs to them, into a new file.

    The tables are named as in ``stakes``; their partitions come along. ``also`` are relations
    without rows of their own: partitioned tables, views, sequences. pg_dump reads them in a session
    of its own, as of now: it waits for no lock that lets others read, so the caller may hold them
    in EXCLUSIVE mode. Raises BackupFailed, and ConnectionFailed.
    """
    with connection_errors(connection.alias):
        connection.ensure_connection()
    _refuse_shared_sessions(connection)
    relations = [found for table in tables for found in _relations(connection, table)]
    beside = [found for relation in also for found in _relations(connection, relation)]
    dump, restore = _programs(connection)
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise BackupFailed(
            f"The backup cannot be written to {path}: {error.strerror}. Name a file that does not "
            "exist yet, in a folder that does."
        ) from error
    try:
        with os.fdopen(file, "wb") as output:
            wanted = dict.fromkeys(relation.pattern for relation in [*relations, *beside])
            patterns = [f"--table={pattern}" for pattern in wanted]
            command = [dump, "--format=custom", f"--lock-wait-timeout={_LOCK_WAIT_MS}", *patterns]
            _run(command, connection, output.fileno())
            output.flush()
            os.fsync(output.fileno())
        _verify(restore, path, relations, beside, connection)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return Backup(
        path=path, tables=tuple(tables), size_bytes=path.stat().st_size, restorer=Path(restore)
    )


def _refuse_shared_sessions(connection: DatabaseWrapper) -> None:
    """pg_dump empties the search_path of its session, before its transaction: where each
    transaction has another session, that one may be somebody else's next."""
    if pooled(connection) and shares_sessions(connection):
        info = connection.connection.info
        raise BackupFailed(
            f"The connection to {info.host}:{info.port} goes through a pooler that gives each "
            "transaction another session, where pg_dump would leave its settings to others. Let "
            "the alias reach the server itself, or a pooler of sessions; or do without: copy the "
            "tables by pg_dump from there, and leave --backup out (schema_reset: --no-backup)."
        )


class _Relation(NamedTuple):
    schema: str
    name: str
    #: A partitioned table has none of its own.
    has_data: bool

    @property
    def pattern(self) -> str:
        # pg_dump takes what is between quotes literally but for the quote itself.
        return f"{quoted(self.schema)}.{quoted(self.name)}"


def _relations(connection: DatabaseWrapper, table: str) -> list[_Relation]:
    """The table, and its partitions, which pg_dump leaves out by itself."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT nspname, relname, relkind <> 'p' FROM pg_class found "
            "JOIN pg_namespace space ON space.oid = relnamespace "
            "WHERE found.oid = to_regclass(%(table)s) OR found.oid IN "
            "(SELECT relid FROM pg_partition_tree(to_regclass(%(table)s)))",
            {"table": identifier(table)},
        )
        found = [_Relation(*row) for row in cursor.fetchall()]
    if not found:
        raise BackupFailed(f"There is no table {table!r} to back up.")
    return found


def _programs(connection: DatabaseWrapper) -> tuple[str, str]:
    """pg_dump and pg_restore that are not older than the server: an older one refuses."""
    major = connection.connection.info.server_version // 10_000
    found = []
    for folder in _folders(connection):
        dump = shutil.which("pg_dump", path=folder)
        restore = shutil.which("pg_restore", path=folder)
        if dump and restore:
            version = _version(dump)
            if version >= major:
                return dump, restore
            found.append(f"{dump} is {version}")
    seen = "; ".join(found) or "none was found"
    raise BackupFailed(
        f"A backup needs pg_dump of PostgreSQL {major} or newer, and {seen}. Install the client "
        f"programs (Debian: apt install postgresql-client-{major}), or put them on the path."
    )


def _folders(connection: DatabaseWrapper) -> Iterator[str]:
    """Where the programs may be: beside the backend's own psql, on the path, and installed."""
    words, _ = connection.client_class.settings_to_cmd_args_env(connection.settings_dict, [])
    own = Path(words[0])
    if own.is_absolute():
        yield str(own.parent)
    yield os.environ.get("PATH", os.defpath)
    versions = sorted(Path(_INSTALLED).glob("*/bin"), key=lambda folder: folder.parent.name)
    yield from (str(folder) for folder in reversed(versions))


def _version(program: str) -> int:
    done = subprocess.run(  # noqa: S603  (found by name in a folder of programs)
        [program, "--version"], capture_output=True, text=True, check=False
    )
    found = re.search(r"(\d+)", done.stdout)
    return int(found[1]) if found else 0


def _run(
    command: Sequence[str], connection: DatabaseWrapper, output: int | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run one of the programs as this connection's user; the password is in nobody's view."""
    info = connection.connection.info
    parameters = {
        name: value
        for name, value in info.get_parameters().items()
        if name not in {"options", "application_name"}
    }
    # As the driver resolved them: a name may stand for several hosts, and one of them answered.
    variables = {
        "PGHOST": info.host,
        "PGPORT": str(info.port),
        "PGUSER": info.user,
        "PGDATABASE": info.dbname,
        "PGPASSWORD": info.password,
        "PGSSLMODE": parameters.get("sslmode", ""),
        "PGSSLROOTCERT": parameters.get("sslrootcert", ""),
        "PGSSLCERT": parameters.get("sslcert", ""),
        "PGSSLKEY": parameters.get("sslkey", ""),
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    given = {name: value for name, value in variables.items() if value}
    done = subprocess.run(  # noqa: S603  (found by name in a folder of programs)
        command,
        env={**inherited, **given},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if output is None else output,
        stderr=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        words = " ".join(done.stderr.decode(errors="replace").split())[-_QUOTED_TEXT:]
        raise BackupFailed(f'{Path(command[0]).name} failed: "{words}". There is no backup.')
    return done


def _verify(
    restore: str,
    path: Path,
    relations: Sequence[_Relation],
    beside: Sequence[_Relation],
    connection: DatabaseWrapper,
) -> None:
    """Read the table of contents back: each table must be there with its data."""
    listed = _run([restore, "--list", str(path)], connection).stdout.decode(errors="replace")

    def lacking(kind: str, wanted: Sequence[_Relation]) -> list[str]:
        entry = rf"^\d+; \d+ \d+ (?:{kind}) (\S+) (.+) \S+$"
        contents = re.findall(entry, listed, flags=re.MULTILINE)
        return [one.name for one in wanted if (one.schema, _listed(one.name)) not in contents]

    with_data = [relation for relation in relations if relation.has_data]
    missing = [
        *(f"the data of {name}" for name in lacking("TABLE DATA", with_data)),
        *lacking("TABLE|VIEW|MATERIALIZED VIEW|SEQUENCE", beside),
    ]
    if missing:
        raise BackupFailed(
            f"The backup was read back and lacks {', '.join(missing)}. It was removed."
        )


def _listed(name: str) -> str:
    """The name as the table of contents has it: on one line."""
    return re.sub(r"[\r\n]", " ", name)
