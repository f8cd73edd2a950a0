"""What a command would do, for a script: ``--dry-run --format json``."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connections

from tests.processes import ROOT
from tests.schema.homestead import FENCES, PLOTS
from tests.schema.vineyard import Applied, Install

PAGES = ROOT / "docs" / "reference"


def dry_run(name: str, alias: str, *words: str, **options: Any) -> Any:
    """The document; with the refusal, where there is one, as ``(document, code, words)``."""
    out = io.StringIO()
    given = {"database": alias, "dry_run": True, "format": "json", "stdout": out, **options}
    refusal: tuple[Any, ...] | None = None
    try:
        call_command(name, *words, stderr=io.StringIO(), **given)
    except CommandError as error:
        refusal = error.returncode, str(error)
    except SystemExit as ended:
        refusal = ended.code, ""
    document = json.loads(out.getvalue())
    check_documented(name, document)
    return document if refusal is None else (document, *refusal)


def check_documented(name: str, document: Any) -> None:
    text = (PAGES / f"{name}.md").read_text()
    assert {key for key in keys(document) if f"`{key}`" not in text} == set()


def keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = set() if set(value) == {"homestead"} else set(value)
        return own.union(*map(keys, value.values()))
    return set().union(*map(keys, value)) if isinstance(value, list) else set()


def execute(alias: str, sql: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql)


@pytest.mark.parametrize("name", ["schema_rollback", "schema_reset", "schema_adopt"])
def test_is_of_a_dry_run_alone(scratch: str, name: str) -> None:
    with pytest.raises(CommandError, match="add --dry-run") as caught:
        call_command(name, database=scratch, format="json")
    assert caught.value.returncode == 2


class TestRollback:
    def test_what_goes_and_why_not(self, applied: Applied) -> None:
        alias = applied("vineyard", "cellar")
        execute(alias, "INSERT INTO cellar_shelf DEFAULT VALUES")

        found, code, words = dry_run("schema_rollback", alias, "cellar", "zero")

        assert (code, found["refused"]) == (1, words)
        step = {"app": "cellar", "atomic": True, "depends_on": None}
        loss = {"kind": "table", "step": "cellar.0002_shelf", "problem": None}
        cask = {"object": "cellar_cask", "table": "cellar_cask", "affected": 0, "lost": 0}
        shelf = {"object": "cellar_shelf", "table": "cellar_shelf", "affected": 1, "lost": 1}
        assert found == {
            "format_version": 1,
            "database": alias,
            "one_transaction": True,
            "refused": words,
            "steps": [{**step, "name": "0002_shelf"}, {**step, "name": "0001_initial"}],
            "losses": [{**loss, **shelf}, {**loss, **cask, "step": "cellar.0001_initial"}],
            "unknown": [],
            "notes": [],
        }

    def test_what_is_not_known(self, applied: Applied) -> None:
        found = dry_run("schema_rollback", applied("vineyard"), "vineyard", "0005")

        assert found["refused"] is None
        assert [one["step"] for one in found["unknown"]] == ["vineyard.0006_pour"]
        assert "Python code (pour_back)" in found["unknown"][0]["message"]


class TestReset:
    def test_what_goes_and_why_not(self, applied: Applied, settings: Any) -> None:
        settings.HODEI_ALLOW_RESET = False
        alias = applied("depot", "hauler")
        execute(alias, "CREATE VIEW a_view AS SELECT label FROM depot_shelf")

        found, code, words = dry_run("schema_reset", alias)

        (obstacle,) = found.pop("obstacles")
        (note,) = found.pop("notes")
        assert code == 1
        assert obstacle in words
        assert obstacle.startswith("View a_view depends on table depot_shelf")
        assert note.startswith("hauler.0001_initial stays applied")
        assert "view depot_labels" in found.pop("objects")
        assert found == {
            "format_version": 1,
            "database": alias,
            "name": connections[alias].settings_dict["NAME"],
            "schema": "public",
            "apps": ["depot"],
            "allowed": False,
            "tables": [
                {"name": "depot_crate", "app": "depot", "rows": 1},
                {"name": "depot_shelf", "app": "depot", "rows": 1},
            ],
            "migrations": ["depot.0001_initial", "depot.0002_stock", "depot.0003_index"],
            "sessions": [],
        }
        execute(alias, "DROP VIEW a_view")
        assert dry_run("schema_reset", alias)["obstacles"] == []


class TestAdopt:
    def test_where_it_stands(self, scratch: str, install: Install) -> None:
        install("homestead")
        execute(scratch, PLOTS + FENCES)
        execute(scratch, "CREATE TABLE others (n int); ALTER TABLE plots ALTER kind DROP NOT NULL")

        found = dry_run("schema_adopt", scratch)

        plan = found.pop("plan")
        (app,) = plan.pop("apps")
        (repair,) = (one for one in app["repairs"] if one["subject"] == "plots.kind")
        assert found == {
            "format_version": 1,
            "database": scratch,
            "adopted": {},
            "before": ["contenttypes.0001_initial"],
            "following": found["following"],
        }
        assert plan == {
            "name": connections[scratch].settings_dict["NAME"],
            "schema": "public",
            "imports": [],
            "obstacles": [],
            "left": [],
            "tables_of_others": ["others"],
        }
        assert (app["app"], app["tables_found"], app["tables"]) == ("homestead", 2, 2)
        assert (repair["kind"], repair["subject"], repair["rows"]) == ("repair", "plots.kind", None)
        assert repair["statements"] == ['ALTER TABLE "plots" ALTER COLUMN "kind" SET NOT NULL']

    def test_why_not(self, scratch: str, install: Install) -> None:
        install("homestead")
        execute(scratch, f"{PLOTS}{FENCES}ALTER TABLE plots ALTER size TYPE bigint")

        found, code, _ = dry_run("schema_adopt", scratch)

        assert code == 1
        assert "its size is bigint and not integer" in found["plan"]["obstacles"][0]

    def test_when_it_is_done(self, scratch: str, install: Install) -> None:
        install("homestead")
        execute(scratch, PLOTS + FENCES)
        call_command(
            "schema_adopt",
            database=scratch,
            interactive=False,
            stdout=io.StringIO(),
            stderr=io.StringIO(),
        )

        found = dry_run("schema_adopt", scratch)

        assert (found["plan"], found["following"]) == (None, 0)
        assert list(found["adopted"]) == ["homestead"]
