from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder

from hodei.schema.management.commands.schema_plan import Command, folded, size_text
from hodei.schema.plan import lint as linting
from hodei.schema.plan.hazards import Code
from hodei.schema.plan.tokens import split, tokens, wrap
from tests.schema.test_plan.kit import Install, Library, plan

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "schema_plan.md"


@pytest.fixture
def without_squawk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_args, **_options: None)


@pytest.mark.usefixtures("without_squawk")
class TestCommand:
    def test_prints_it_all(self, library: Library, scratch: str) -> None:
        library('operations = [migrations.RemoveField("Shelf", "place")]')

        lines = plan(scratch).splitlines()

        assert lines[:2] == [
            "library.0002_step (one transaction)",
            "  Remove field place from Shelf",
        ]
        # Some versions of Django add CASCADE.
        assert lines[2].startswith('    ALTER TABLE "library_shelf" DROP COLUMN "place"')
        assert lines[3].startswith("      ACCESS EXCLUSIVE on library_shelf (about 700 rows, ")
        assert lines[3].endswith(" kB): blocks reads and writes")
        assert lines[4].startswith(
            "    ! data-loss: Column place of library_shelf goes, with what "
        )
        assert lines[-1].startswith("1 migration, 1 statement, ")

    def test_says_so_where_there_is_nothing_to_do(self, library: Library, scratch: str) -> None:
        assert plan(scratch) == "Nothing to do: no migration is pending.\n"

    def test_fits_a_hundred_columns(self, scratch: str, install: Install) -> None:
        install("orchard", "quarry", "ledger")

        assert max(map(len, plan(scratch).splitlines())) <= 100

    def test_colours_only_where_they_are_asked_for(self, scratch: str, install: Install) -> None:
        install("ledger")

        assert "\x1b[" not in plan(scratch)
        assert "\x1b[" in plan(scratch, force_color=True)

    def test_json(self, library: Library, scratch: str) -> None:
        library(
            'operations = [migrations.AddIndex("Shelf", models.Index(fields=["name"], name="n"))]'
        )

        found = json.loads(plan(scratch, format="json"))

        statement = found["migrations"][0]["operations"][0]["statements"][0]
        description = found["migrations"][0]["operations"][0].pop("description")
        size = statement["locks"][0].pop("bytes")
        message = statement["warnings"][0].pop("message")
        assert size > 0
        assert description.startswith("Create index n on field(s) name of model ")
        assert "CONCURRENTLY" in message.upper()
        assert found == {
            "format_version": 1,
            "database": scratch,
            "summary": "1 migration, 1 statement, 1 warning: 1 blocking-index-build",
            "linted": False,
            "migrations": [
                {
                    "app": "library",
                    "name": "0002_step",
                    "atomic": True,
                    "operations": [
                        {
                            "warnings": [],
                            "statements": [
                                {
                                    "sql": 'CREATE INDEX "n" ON "library_shelf" ("name")',
                                    "locks": [
                                        {
                                            "table": "library_shelf",
                                            "mode": "SHARE",
                                            "blocks_reads": False,
                                            "blocks_writes": True,
                                            "is_new": False,
                                            "rows": 700,
                                        }
                                    ],
                                    "warnings": [
                                        {"code": "blocking-index-build", "table": "library_shelf"}
                                    ],
                                }
                            ],
                        }
                    ],
                    "lint": [],
                }
            ],
        }

    def test_every_key_and_code_is_documented(self, library: Library, scratch: str) -> None:
        library('operations = [migrations.RemoveField("Shelf", "place")]')
        text = PAGE.read_text()

        def keys(value: Any) -> set[str]:
            if isinstance(value, dict):
                return set(value).union(*map(keys, value.values()))
            return set().union(*map(keys, value)) if isinstance(value, list) else set()

        found = keys(json.loads(plan(scratch, format="json"))) | {code.value for code in Code}
        assert {name for name in found if f"`{name}`" not in text} == set()

    def test_up_to_a_migration(self, scratch: str, install: Install) -> None:
        install("ledger")

        found = json.loads(plan(scratch, "ledger", "0001", format="json"))
        assert [(one["app"], one["name"]) for one in found["migrations"]] == [
            ("ledger", "0001_initial")
        ]
        found = json.loads(plan(scratch, "ledger", format="json"))
        assert [one["name"] for one in found["migrations"]] == [
            "0001_initial",
            "0002_post",
            "0003_amount",
        ]

    def test_the_way_back_is_another_question(self, scratch: str, install: Install) -> None:
        install("ledger")
        call_command("migrate", database=scratch, verbosity=0)

        for target in ("0001", "zero"):
            with pytest.raises(CommandError, match=r"undo .*ledger\.0003_amount first") as caught:
                plan(scratch, "ledger", target)
            assert caught.value.returncode == 2

    @pytest.mark.parametrize(
        ("words", "text"),
        [
            (["legder"], "There is no app 'legder'. Did you mean ledger?"),
            (["ledger", "0004"], "There is no migration of ledger '0004'"),
            (["ledger", "000"], "more than one migration for 'ledger' with the prefix '000'"),
            (["bare"], "App 'bare' has no migrations."),
        ],
    )
    def test_a_wrong_name(
        self, scratch: str, install: Install, words: list[str], text: str
    ) -> None:
        install("ledger", "bare")

        with pytest.raises(CommandError) as caught:
            plan(scratch, *words)

        assert text in str(caught.value)
        assert caught.value.returncode == 2

    def test_what_migrate_refuses(self, scratch: str, install: Install) -> None:
        install("forked")
        with pytest.raises(CommandError, match="several last migrations") as caught:
            plan(scratch)
        assert caught.value.returncode == 2

        install("orphaned")
        with pytest.raises(CommandError, match="make no graph") as caught:
            plan(scratch)
        assert caught.value.returncode == 2

        install("ledger")
        MigrationRecorder(connections[scratch]).ensure_schema()
        MigrationRecorder(connections[scratch]).record_applied("ledger", "0002_post")
        with pytest.raises(CommandError, match="migrate would refuse") as caught:
            plan(scratch)
        assert caught.value.returncode == 2

    def test_out_of_reach(self, point_alias: Callable[..., str], database: dict[str, Any]) -> None:
        with pytest.raises(CommandError, match="no such database") as caught:
            plan(point_alias(database, NAME="hodei_schema_no_such"))

        assert caught.value.returncode == 3

    def test_help_explains_itself_to_a_newcomer(self) -> None:
        text = " ".join(Command().create_parser("manage.py", "schema_plan").format_help().split())

        for told in (
            "Show what migrate would do, without doing any of it",
            "Reads only.",
            "the beginning of its name is enough",
            "0 printed, 2 misuse",
        ):
            assert told in text


class TestLint:
    @pytest.fixture
    def squawk(self) -> Path:
        found = linting.program()
        if found is None:
            pytest.skip("needs hodei[lint]")
        return found

    def test_speaks_of_the_right_statement(
        self, library: Library, scratch: str, squawk: Path
    ) -> None:
        (migration,) = library(
            'operations = [migrations.RunSQL("SELECT 1;\\n\\nSELECT\\n2", ""), '
            'migrations.AddIndex("Shelf", models.Index(fields=["name"], name="n"))]'
        )

        (remark,) = linting.lint(squawk, migration, 150_004)

        assert remark.rule == "require-concurrent-index-creation"
        assert remark.statement == 2
        assert "? squawk require-concurrent-index-creation: " in plan(scratch)
        assert json.loads(plan(scratch, format="json"))["linted"] is True

    def test_one_that_does_not_work_is_said_to(self, library: Library, tmp_path: Path) -> None:
        (migration,) = library('operations = [migrations.RunSQL("SELECT 1", "")]')
        broken = tmp_path / "squawk"
        broken.write_text("#!/bin/sh\nexit 1\n")
        broken.chmod(0o755)

        with pytest.raises(linting.LintFailed, match="Reinstall squawk-cli"):
            linting.lint(broken, migration, 150_004)


class TestTokens:
    @pytest.mark.parametrize(
        ("script", "statements"),
        [
            ("", []),
            (" ; ;-- nothing\n;", []),
            ("SELECT 1; SELECT 2;", ["SELECT 1", "SELECT 2"]),
            ("SELECT ';' ; SELECT E'\\';' ;", ["SELECT ';'", "SELECT E'\\';'"]),
            ('SELECT ";"";" ; B', ['SELECT ";"";"', "B"]),
            ("DO $$ a; b $$; DO $x$ $$; $x$", ["DO $$ a; b $$", "DO $x$ $$; $x$"]),
            ("A /* ; /* ; */ ; */ ; B -- ;\n; C", ["A", "B", "C"]),
            (
                "CREATE FUNCTION f() BEGIN ATOMIC SELECT 1; SELECT CASE WHEN a THEN 1 END; END; X",
                [
                    "CREATE FUNCTION f() BEGIN ATOMIC SELECT 1; SELECT CASE WHEN a THEN 1 END; END",
                    "X",
                ],
            ),
            (
                "CREATE RULE r AS ON DELETE TO t DO (SELECT 1; SELECT 2); X",
                ["CREATE RULE r AS ON DELETE TO t DO (SELECT 1; SELECT 2)", "X"],
            ),
            ("BEGIN; X; COMMIT; SELECT $1", ["BEGIN", "X", "COMMIT", "SELECT $1"]),
        ],
    )
    def test_split(self, script: str, statements: list[str]) -> None:
        assert split(script) == statements

    def test_wrapping_changes_no_word(self) -> None:
        sql = "ALTER TABLE \"a b\" ADD COLUMN c text DEFAULT 'x  y\nz' NOT NULL, DROP COLUMN d"

        lines = wrap(sql, 30)

        assert [token.text for token in tokens("\n".join(lines))] == [
            token.text for token in tokens(sql)
        ]
        assert max(len(line) for line in lines[:1] + lines[2:]) <= 30

    def test_a_comment_keeps_its_line(self) -> None:
        sql = "SELECT 1 -- one\n, 2"

        assert wrap(sql, 10) == ["SELECT 1 -- one", ", 2"]


def test_sizes_and_lines_are_written_as_a_person_would() -> None:
    assert [size_text(size) for size in (None, 0, 8192, 5 * 1024**2, 3 * 1024**4)] == [
        "size unknown",
        "0 bytes",
        "8.0 kB",
        "5.0 MB",
        "3.0 TB",
    ]
    assert list(folded("one two three", 8)) == ["one two", "three"]
