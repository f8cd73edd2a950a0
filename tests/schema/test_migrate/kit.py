from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from django.core.management import call_command
from django.db import connections

from hodei.schema.history import read_runs

Install = Callable[..., None]


def migrate(alias: str, *target: str, **options: Any) -> str:
    out = io.StringIO()
    call_command("migrate", *target, database=alias, stdout=out, stderr=out, **options)
    return out.getvalue().removeprefix(f"Database: {alias}\n")


def outcomes(alias: str, app: str) -> list[tuple[str, str, str]]:
    """(name, direction, outcome), oldest first."""
    runs = reversed(read_runs(alias, app=app))
    return [(run.name, run.direction.value, run.outcome) for run in runs]


def tables(alias: str) -> list[str]:
    return connections[alias].introspection.table_names()


def start(database: dict[str, Any], **env: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "django", "migrate", "-v0"],
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.schema.settings_alone",
            "SCHEMA_TEST_DATABASES": json.dumps({"default": database}),
            "SCHEMA_TEST_APPS": "tests.schema.apps.ledger",
            **env,
        },
    )
