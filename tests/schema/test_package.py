from __future__ import annotations

import subprocess
import sys

import pytest

import hodei.schema
from tests.processes import ROOT, environment
from tests.schema.conftest import Run

# Django imports the package, and connection.py through hodei.cli, before its registry is ready.
LIGHT = """
import sys
import hodei.schema, hodei.schema.apps
heavy = {"django.db.models", "hodei.schema.service", "django.core.management", "psycopg"}
print(sorted(heavy & sys.modules.keys()))
import hodei.schema.connection
print(sorted({"django.db.models", "hodei.schema.service", "psycopg"} & sys.modules.keys()))
"""


@pytest.mark.process
def test_importing_it_loads_no_models_and_no_driver() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.split("\n")[:2] == ["[]", "[]"]


@pytest.mark.process
def test_a_command_that_asks_nothing_of_the_schema_does_not_load_what_answers() -> None:
    script = "import sys, django; django.setup(); print(*sys.modules)"

    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**environment(), "DJANGO_SETTINGS_MODULE": "hodei.settings"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    loaded = set(done.stdout.split())
    assert "jobs.admin" in loaded
    for part in ("service", "validation", "plan", "rollback", "reset", "replay", "drift"):
        assert f"hodei.schema.{part}" not in loaded


@pytest.mark.parametrize("name", hodei.schema.__all__)
def test_what_it_offers_is_there(name: str) -> None:
    assert getattr(hodei.schema, name).__name__ == name


def test_a_name_it_does_not_have_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        hodei.schema.nonsense  # noqa: B018


@pytest.mark.process
def test_where_the_admin_is_not_installed_its_pages_are_not_imported(manage: Run) -> None:
    script = "import sys; print(sorted(m for m in sys.modules if m.endswith('.admin')))"

    checked = manage("check", "--fail-level", "WARNING")
    imported = manage("shell", "--verbosity", "0", "--command", script)

    assert checked.returncode == 0, checked.stderr
    assert imported.stdout.splitlines()[-1] == "[]"
