"""The emergency reset of this project's own apps."""

from __future__ import annotations

import io
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections

from hodei.sample import load_sample
from hodei.schema import MigrationService
from tests.databases import BASELINE, Migrated, alias_of, new_database
from tests.migrations import catalog
from tests.migrations.original_rows import job, provider

pytestmark = pytest.mark.no_cover


@pytest.fixture
def whole(head_template: str, django_db_blocker: Any, settings: Any) -> Any:
    """A database at head in all apps, Django's own too, that may be reset."""
    settings.HODEI_ALLOW_RESET = True
    own = connections["default"].settings_dict
    engine = {name: own[name] for name in ("ENGINE", "EMBEDDED_DIRECTORY") if name in own}
    with (
        django_db_blocker.unblock(),
        new_database(head_template) as database,
        alias_of({**database, **engine}, "whole") as alias,
    ):
        yield Migrated(alias)


def reset(database: Migrated, **options: Any) -> str:
    out = io.StringIO()
    name = connections[database.alias].settings_dict["NAME"]
    call_command(
        "schema_reset", database=database.alias, confirm=name, stdout=out, stderr=out, **options
    )
    return out.getvalue()


def everything(database: Migrated) -> dict[str, list[str]]:
    """The rows of every table but those that tell of migrations."""
    tables = database.rows(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        " AND relname NOT IN ('django_migrations', 'schema_migration_runs') ORDER BY 1"
    )
    return {
        table: sorted(map(repr, database.rows(f'SELECT * FROM "{table}"'))) for (table,) in tables
    }


def check_valid(database: Migrated) -> None:
    validation = MigrationService(database.alias).validate()
    assert validation.is_valid, validation.findings
    assert not [one for one in validation.findings if one.kind.is_drift]


def test_a_full_database_is_emptied_and_comes_back(whole: Migrated, tmp_path: Path) -> None:
    load_sample(whole.alias)
    whole.execute("INSERT INTO auth_group (name) VALUES ('operators')")
    before, built = everything(whole), catalog.read(whole)
    content_types = before["django_content_type"]

    shown = reset(whole, backup=tmp_path / "all.dump")

    after = everything(whole)
    assert catalog.read(whole) == built
    assert after["auth_group"] == before["auth_group"]
    assert after["django_content_type"] == content_types
    assert after["auth_permission"] == before["auth_permission"]
    check_valid(whole)
    (line,) = (line for line in shown.splitlines() if line.startswith("Restore it with: "))
    done = subprocess.run(
        line.removeprefix("Restore it with: "),
        shell=True,
        env={**os.environ, "PGPASSWORD": connections[whole.alias].settings_dict["PASSWORD"] or ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert everything(whole) == before
    check_valid(whole)


def test_archives_of_a_way_back_go_and_the_way_is_forward_again(
    whole: Migrated, settings: Any
) -> None:
    settings.HODEI_ALLOW_DATA_LOSS = True
    provider(whole)
    job(whole, state="TIMEOUT")
    whole.migrate("jobs", BASELINE["jobs"])
    assert whole.value("SELECT count(*) FROM jobs_head_rows") == 1

    shown = reset(whole, no_backup=True)

    assert "jobs_head_rows" in shown
    assert whole.value("SELECT to_regclass('jobs_head_rows') IS NULL")
    check_valid(whole)


def test_one_app_that_others_refer_to_is_refused(whole: Migrated) -> None:
    plan = MigrationService(whole.alias).plan_reset(["auth"])

    assert any("django_admin_log" in one for one in plan.obstacles)
