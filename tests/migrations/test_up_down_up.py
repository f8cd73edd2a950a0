"""Up, down and up again, each migration by itself, and all of them: the same catalog each time."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState
from django.db.transaction import atomic
from django.test import override_settings

from hodei.schema.catalog.inspection import read_catalog
from hodei.schema.catalog.model import Catalog
from hodei.schema.history import TABLE
from hodei.schema.results import MigrationKey
from hodei.schema.rollback.preview import read_preview
from hodei.schema.rollback.service import go_back
from hodei.schema.rollback.targets import Since
from tests.databases import alias_of, new_database

pytestmark = pytest.mark.no_cover

OURS = ("jobs", "outbox", "sagas")
MIGRATIONS = sorted(key for key in MigrationLoader(None).disk_migrations if key[0] in OURS)
RELEASE = "before"

Catalogs = dict[MigrationKey, dict[str, Any]]


@pytest.fixture(scope="module")
def nothing(django_db_setup: None, django_db_blocker: Any) -> Iterator[str]:
    """An alias of a database with none of our migrations, and a release that it has had."""
    with (
        django_db_blocker.unblock(),
        new_database() as database,
        alias_of(database, "up_down_up") as alias,
    ):
        with override_settings(HODEI_SCHEMA_RELEASE=RELEASE):
            call_command("migrate", "hodei_schema", database=alias, verbosity=0)
        yield alias


class Ways:
    """The catalog after each migration, and after it was undone and applied again."""

    def __init__(self) -> None:
        self.first: Catalogs = {}
        self.again: Catalogs = {}


@pytest.fixture(scope="module")
def ways(nothing: str) -> Ways:
    """Up, and down again, each migration twice; without records, for they would take the time."""
    connection = connections[nothing]
    loader = MigrationLoader(connection)
    order = [
        key
        for leaf in sorted(loader.graph.leaf_nodes())
        if leaf[0] in OURS
        for key in loader.graph.forwards_plan(leaf)
    ]
    plan = [loader.graph.nodes[key] for key in dict.fromkeys(order)]
    found, before = Ways(), {}
    state = ProjectState(real_apps=loader.unmigrated_apps)
    _ = state.apps

    def run(migration: Migration, way: str) -> ProjectState:
        with connection.schema_editor(atomic=migration.atomic) as editor:
            reached: ProjectState = getattr(migration, way)(before[migration].clone(), editor)
        return reached

    for migration in plan:
        before[migration] = state
        state = run(migration, "apply")
        found.first[migration.app_label, migration.name] = plain(catalog(nothing))
    for migration in reversed(plan):
        run(migration, "unapply")
        run(migration, "apply")
        found.again[migration.app_label, migration.name] = plain(catalog(nothing))
        run(migration, "unapply")
    return found


def catalog(alias: str) -> Catalog:
    with atomic(alias):
        return read_catalog(connections[alias], "public").without(TABLE, "django_migrations")


def plain(found: Catalog) -> dict[str, Any]:
    """Columns by their names: one that comes again comes last."""
    document = found.to_json(rights=True)
    for relation in document["relations"]:
        relation["columns"].sort(key=lambda column: column["name"])
    return document


def as_read(first: dict[str, Any], again: dict[str, Any]) -> dict[str, Any]:
    """The first one, with those constraints valid that have become so since: what was read once
    stays true, and no way back makes anybody read it again."""
    valid = {
        (relation["name"], constraint["name"])
        for relation in again["relations"]
        for constraint in relation.get("constraints", ())
        if "validated" not in constraint
    }
    found = deepcopy(first)
    for relation in found["relations"]:
        for constraint in relation.get("constraints", ()):
            if (relation["name"], constraint["name"]) in valid:
                constraint.pop("validated", None)
    return found


@pytest.mark.parametrize("key", MIGRATIONS, ids=".".join)
def test_each_migration(ways: Ways, key: MigrationKey) -> None:
    assert ways.again[key] == as_read(ways.first[key], ways.again[key])


@pytest.mark.slow
def test_all_of_them_by_schema_rollback(nothing: str, ways: Ways) -> None:
    assert len(ways.first) == len(MIGRATIONS) > 45
    executor = MigrationExecutor(connections[nothing])
    executor.migrate([key for key in executor.loader.graph.leaf_nodes() if key[0] in OURS])
    head = catalog(nothing)
    assert plain(head) == list(ways.first.values())[-1]
    preview = read_preview(nothing, Since(RELEASE))
    assert preview.keys == tuple(reversed(ways.first))
    assert preview.losses.unknown == ()

    go_back(nothing, Since(RELEASE), shown=preview, command="test")

    left = catalog(nothing)
    assert (left.relations, left.functions, left.types) == ({}, {}, {})
