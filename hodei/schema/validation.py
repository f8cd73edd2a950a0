"""Is the database what its migrations make of it? Reads, compares, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from django.apps import apps
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, Error
from django.db.migrations.loader import MigrationLoader

from hodei.schema import drift
from hodei.schema.catalog.inspection import read_catalog
from hodei.schema.catalog.model import Catalog
from hodei.schema.catalog.snapshot import read_snapshot, write_snapshot
from hodei.schema.errors import SchemaError
from hodei.schema.readiness import names_of
from hodei.schema.replay.rebuild import rebuild
from hodei.schema.replay.scratch import Expected, applied_plan, replay
from hodei.schema.replay.sessions import LOCK_TIMEOUT, never_kept, private_connection, set_timeouts
from hodei.schema.results import Finding, FindingKind, SchemaValidationResult
from hodei.schema.status import MigrationState, SchemaStatus, read_status
from hodei.schema.unmigrated import unmigrated

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


class IgnoreSettingWrong(SchemaError):  # noqa: N818
    """HODEI_SCHEMA_IGNORE is no list of patterns."""

    exit_code = 2


class CatalogBusy(SchemaError):  # noqa: N818  (it reads as the fact it states)
    """Something holds a lock that the catalog cannot be read behind."""

    exit_code = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What to compare with, and how closely."""

    #: Replay in a temporary database, where RunPython runs as well.
    rebuild: bool = False
    #: A file of schema_snapshot, in place of a replay.
    expected: Path | None = None
    #: Compare owners and privileges too.
    privileges: bool = False
    #: Patterns (``fnmatch``) of subjects, or of tables with all that is on them; those of the
    #: setting HODEI_SCHEMA_IGNORE are added.
    ignore: Sequence[str] = ()


def validate(
    using: str = DEFAULT_DB_ALIAS, comparison: Comparison | None = None
) -> SchemaValidationResult:
    """Compare records and catalog with the migrations on disk.

    On a connection of its own; nothing is kept, and no lock on a real table is waited for longer
    than two seconds. Raises a SchemaError with exit code 3 where nothing can be said.
    """
    chosen = comparison or Comparison()
    patterns = [*_ignored_by_setting(), *chosen.ignore]
    found = read_status(using)
    status = found.validation()
    with private_connection(using) as connection:
        schema, live = _live(connection)
        loader = MigrationLoader(connection, ignore_no_migrations=True)
        expected = _expected(connection, loader, live, schema, chosen)
    findings = [
        *status.findings,
        *unmigrated(loader),
        *drift.compare(
            expected.catalog,
            live,
            privileges=chosen.privileges and chosen.expected is None,
            known=_unmanaged_tables(),
        ),
    ]
    kept = [finding for finding in findings if not _matches(finding, patterns)]
    return replace(
        status,
        findings=tuple(kept),
        compared=drift.compared(expected.catalog),
        ignored=len(findings) - len(kept),
        notes=(*expected.notes, *_faked(found)),
    )


def _faked(status: SchemaStatus) -> Iterator[str]:
    """Where the tables agree it does no harm, so it is no finding."""
    faked = [one.key for one in status.migrations if one.state is MigrationState.FAKED]
    if faked:
        yield (
            f"Only recorded, and never run here: {names_of(faked)}. What RunPython does in them "
            "was not done."
        )


def snapshot(
    using: str = DEFAULT_DB_ALIAS, *, live: bool = False, in_database: bool = False
) -> str:
    """Return the text of a snapshot: of what the applied migrations build, or of what is there.

    ``in_database`` replays in a temporary database. Raises what ``validate`` does.
    """
    read_status(using)
    with private_connection(using) as connection:
        schema, found = _live(connection)
        loader = MigrationLoader(connection, ignore_no_migrations=True)
        if not live:
            chosen = Comparison(rebuild=in_database)
            found = _expected(connection, loader, found, schema, chosen).catalog
    return write_snapshot(found, applied_plan(loader))


def _live(connection: BaseDatabaseWrapper) -> tuple[str, Catalog]:
    with busy(), never_kept(connection):
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor.execute("SELECT current_schema()")
            (schema,) = cursor.fetchone()
        set_timeouts(connection)
        return schema, read_catalog(connection, schema)


def _expected(
    connection: BaseDatabaseWrapper,
    loader: MigrationLoader,
    live: Catalog,
    schema: str,
    chosen: Comparison,
) -> Expected:
    plan = applied_plan(loader)
    if chosen.expected is not None:
        return read_snapshot(chosen.expected, server=live.server, migrations=plan)
    if chosen.rebuild:
        return rebuild(connection, plan, live, schema)
    return replay(connection, loader, live.relations.keys())


def _matches(finding: Finding, patterns: Iterable[str]) -> bool:
    if not finding.kind.is_drift and finding.kind is not FindingKind.UNMIGRATED:
        return False  # what migrate stumbles over is nothing to get used to
    names = {finding.subject, finding.table or finding.subject}
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)


def _ignored_by_setting() -> list[str]:
    patterns = getattr(settings, "HODEI_SCHEMA_IGNORE", ())
    if isinstance(patterns, str) or not all(isinstance(one, str) for one in patterns):
        raise IgnoreSettingWrong(
            f"HODEI_SCHEMA_IGNORE is {patterns!r}; it is a list of patterns, such as "
            '["legacy_*", "shop_order.note"].'
        )
    return list(patterns)


def _unmanaged_tables() -> set[str]:
    """Tables of models that say they are somebody else's."""
    return {model._meta.db_table for model in apps.get_models() if not model._meta.managed}


@contextmanager
def busy() -> Iterator[None]:
    """Raise CatalogBusy where the catalog is read behind a lock that is not let go."""
    try:
        yield
    except Error as error:
        if getattr(error.__cause__, "sqlstate", None) not in {"55P03", "57014"}:
            raise
        raise CatalogBusy(
            f"The catalog cannot be read: a table has been locked for more than {LOCK_TIMEOUT} by "
            "a transaction that changes it, a migration perhaps. Wait until it ends, and look for "
            "it in pg_stat_activity if it does not."
        ) from error
