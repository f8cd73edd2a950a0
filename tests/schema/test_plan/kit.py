from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from django.core.management import call_command

from hodei.schema.plan.collection import PlannedMigration
from hodei.schema.plan.hazards import Code

Install = Callable[..., None]


Run = Callable[..., Any]


FIRST = """
    operations = [
        migrations.CreateModel(
            "Shelf",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("name", models.CharField(max_length=40)),
                ("place", models.IntegerField(null=True)),
                ("depth", models.IntegerField(null=True)),
            ],
        ),
        migrations.CreateModel(
            "Book",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("shelf", models.ForeignKey("library.Shelf", models.CASCADE)),
            ],
        ),
    ]
"""


Library = Callable[..., list[PlannedMigration]]


def codes(plan: list[PlannedMigration]) -> list[Code]:
    return [hazard.code for migration in plan for hazard in migration.hazards]


def plan(alias: str, *words: str, **options: Any) -> str:
    out = io.StringIO()
    call_command("schema_plan", *words, database=alias, stdout=out, **options)
    return out.getvalue().removeprefix(f"Database: {alias}\n")
