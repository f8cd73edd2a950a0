from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections

from hodei.schema.plan.collection import PlannedMigration, read_plan
from tests.schema.test_plan.kit import FIRST, Install


@pytest.fixture
def library(
    scratch: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, install: Install, settings: Any
) -> Callable[..., list[PlannedMigration]]:
    """A function that writes migrations of an app ``library``, each the body of a class, and plans
    them on a database where the first, FIRST, is applied and its tables hold rows."""
    folder = tmp_path / "library" / "migrations"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder.parent / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)

    def write(number: int, body: str) -> None:
        before = [("library", f"{number - 1:04}_step")] if number > 1 else []
        (folder / f"{number:04}_step.py").write_text(
            "from django.contrib.postgres.operations import AddIndexConcurrently\n"
            "from django.db import connection, migrations, models\n"
            "from hodei.schema import operations as ours\n"
            "def code(apps, schema_editor):\n    raise RuntimeError('the plan ran it')\n"
            f"class Migration(migrations.Migration):\n    dependencies = {before!r}\n"
            + textwrap.indent(textwrap.dedent(body), "    ")
        )

    write(1, FIRST)
    install()
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "library"]
    call_command("migrate", database=scratch, verbosity=0)
    with connections[scratch].cursor() as cursor:
        cursor.execute("INSERT INTO library_shelf (name) SELECT 'x' FROM generate_series(1, 700)")
        cursor.execute("ANALYZE library_shelf")

    def plan(*bodies: str) -> list[PlannedMigration]:
        for number, body in enumerate(bodies, start=2):
            write(number, body)
        return read_plan(scratch)

    yield plan
    for name in [name for name in sys.modules if name.split(".")[0] == "library"]:
        del sys.modules[name]
