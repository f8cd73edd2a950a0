"""Where the adoption of a database stands, and what it would take: read with nothing touched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from django.apps import apps
from django.db.migrations.loader import MigrationLoader

from hodei.schema.adoption.baselines import Baseline, baselines, build, prerequisites
from hodei.schema.adoption.comparison import draw_up
from hodei.schema.adoption.plan import Ground, Survey
from hodei.schema.catalog.inspection import read_catalog
from hodei.schema.catalog.model import Catalog
from hodei.schema.drift.statements import quoted
from hodei.schema.errors import SchemaError
from hodei.schema.history import ADOPTED, read_runs
from hodei.schema.replay.sessions import never_kept, private_connection, set_timeouts
from hodei.schema.results import MigrationKey
from hodei.schema.status import read_status
from hodei.schema.validation import busy

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


class NothingToAdopt(SchemaError):  # noqa: N818  (it reads as the fact it states)
    """None of the baselines' tables is there. Exit code 1: adopting was asked for."""


class RightsMissing(SchemaError):  # noqa: N818
    """The role may not alter these tables, or make any here."""

    exit_code = 3


def survey(using: str) -> Survey:
    """Read everything on a connection of its own, and keep nothing.

    Raises NothingToAdopt, RightsMissing, BaselineWrong, BaselineNotBuilt, CatalogBusy, and what
    ``read_status`` does.
    """
    status = read_status(using)
    validation = status.validation()
    pending = {*validation.pending_migrations, *validation.failed_migrations}
    with private_connection(using) as connection:
        loader = MigrationLoader(connection, ignore_no_migrations=True)
        every = baselines(loader)
        adopted = dict(_adopted(using, every))
        unrecorded = [one for one in every if one.last not in loader.applied_migrations]
        builds = build(connection, loader, unrecorded) if unrecorded else {}
        with busy(), never_kept(connection):
            schema, live = _live(connection)
            present = [
                one
                for one in unrecorded
                if builds[one.app].relations.keys() & live.relations.keys()
            ]
            if not present and len(unrecorded) == len(every):
                raise NothingToAdopt(_nothing(connection, schema, builds))
            if not present:
                return Survey(
                    plan=None, ground=None, before=(), after=len(pending), adopted=adopted
                )
            _require_rights(connection, schema, present, builds)
            ground = _ground(loader, present, builds)
            plan = draw_up(connection, schema, live, ground)
        before = tuple(prerequisites(loader, present))
    theirs = {key for one in present for key in one.migrations}
    problems = (finding.message for finding in status.problems)
    return Survey(
        plan=replace(plan, obstacles=(*problems, *plan.obstacles)),
        ground=ground,
        before=before,
        after=len(pending - theirs - set(before)),
        adopted=adopted,
    )


def tables_of(labels: set[str]) -> set[str]:
    """The tables that the newest migrations of these apps know."""
    newest = _newest(MigrationLoader(None, ignore_no_migrations=True))
    return {name for label in labels for name in newest.get(label, {})}


def _adopted(using: str, every: list[Baseline]) -> list[tuple[str, datetime]]:
    runs: dict[MigrationKey, datetime] = {}
    for run in read_runs(using):
        if run.event == ADOPTED and run.success:
            runs.setdefault((run.app, run.name), run.started_at)
    return [(one.app, runs[one.last]) for one in every if one.last in runs]


def _live(connection: BaseDatabaseWrapper) -> tuple[str, Catalog]:
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute("SELECT current_schema()")
        (schema,) = cursor.fetchone()
        set_timeouts(connection)
        catalog = read_catalog(connection, schema)
        # Rows are counted next, and a table may be large.
        cursor.execute("SET LOCAL statement_timeout = 0")
    return schema, catalog


def _ground(
    loader: MigrationLoader, present: list[Baseline], builds: Mapping[str, Catalog]
) -> Ground:
    newest = _newest(loader)
    tables = {name for of_app in newest.values() for name in of_app}
    installed = {model._meta.db_table for model in apps.get_models(include_auto_created=True)}
    return Ground(
        baselines=tuple(present),
        builds=builds,
        newest=newest,
        known=frozenset(tables | installed),
    )


def _newest(loader: MigrationLoader) -> dict[str, dict[str, frozenset[str]]]:
    """By app: the tables of its newest migrations, each with its columns."""
    newest: dict[str, dict[str, frozenset[str]]] = {}
    for model in loader.project_state().apps.get_models(include_auto_created=True):
        columns = frozenset(str(field.column) for field in model._meta.local_concrete_fields)
        newest.setdefault(model._meta.app_label, {})[model._meta.db_table] = columns
    return newest


def _require_rights(
    connection: BaseDatabaseWrapper,
    schema: str,
    present: list[Baseline],
    builds: Mapping[str, Catalog],
) -> None:
    ours = [name for one in present for name in builds[one.app].relations]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_user, has_schema_privilege(%s, 'CREATE'), ARRAY("
            "SELECT relname::text FROM pg_class WHERE relname = ANY(%s) "
            "AND relnamespace = %s::regnamespace "
            "AND NOT pg_has_role(current_user, relowner, 'USAGE') ORDER BY 1)",
            [schema, ours, quoted(schema)],
        )
        role, may_create, foreign = cursor.fetchone()
    if foreign:
        raise RightsMissing(
            f"Role {role!r} does not own {', '.join(foreign)}, and only the owner may alter a "
            "table: run as the owner, or as a member of that role. Nothing was changed."
        )
    if not may_create:
        raise RightsMissing(
            f"Role {role!r} may not make tables in schema {schema!r}: GRANT CREATE ON SCHEMA to "
            "it. Nothing was changed."
        )


def _nothing(connection: BaseDatabaseWrapper, schema: str, builds: Mapping[str, Catalog]) -> str:
    names = sorted(name for catalog in builds.values() for name in catalog.relations)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT nspname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
            "WHERE relname = ANY(%s) AND nspname <> %s AND nspname !~ '^pg_' ORDER BY 1",
            [names, schema],
        )
        elsewhere = ", ".join(repr(name) for (name,) in cursor.fetchall())
    hint = ""
    if elsewhere:
        hint = (
            f" Tables of these names are in schema {elsewhere}: if they are meant, put that schema "
            "first in the search_path."
        )
    return (
        f"Nothing to adopt: none of the {len(names)} tables of {', '.join(builds)} is in schema "
        f"{schema!r} of database {connection.settings_dict['NAME']!r}.{hint} If this is a new "
        "database, run migrate; if the tables should be there, check --database."
    )
