"""``schema_plan``: what it says of whole migrations, and that it does none of it."""

from __future__ import annotations

import io
import json
import shutil
import sys
import textwrap
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
from hodei.schema.plan.collection import PlannedMigration, read_plan
from hodei.schema.plan.hazards import Code
from hodei.schema.plan.tokens import split, tokens, wrap

Install = Callable[..., None]
Run = Callable[..., Any]
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "schema_plan.md"

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


Library = Callable[..., list[PlannedMigration]]


def codes(plan: list[PlannedMigration]) -> list[Code]:
    return [hazard.code for migration in plan for hazard in migration.hazards]


class TestStatements:
    def test_a_field_with_its_lock_and_the_tables_size(self, library: Library) -> None:
        (migration,) = library(
            'operations = [migrations.AddField("Shelf", "wide", models.IntegerField(null=True))]'
        )

        (operation,) = migration.operations
        (statement,) = operation.statements
        (lock,) = statement.locks
        assert migration.key == ("library", "0002_step")
        assert migration.atomic
        assert operation.description == "Add field wide to Shelf"
        assert statement.sql == 'ALTER TABLE "library_shelf" ADD COLUMN "wide" integer NULL'
        assert (lock.table, lock.mode.value, lock.is_new) == (
            "library_shelf",
            "ACCESS EXCLUSIVE",
            False,
        )
        assert lock.rows == 700
        assert lock.size_bytes is not None
        assert lock.size_bytes > 40_000
        assert migration.hazards == []

    def test_a_foreign_key_locks_the_other_table_too(self, library: Library) -> None:
        (migration,) = library(
            'operations = [migrations.AddField("Book", "second", models.ForeignKey('
            '"library.Shelf", models.CASCADE, null=True, related_name="+"))]'
        )

        first = migration.statements[0]
        assert [(lock.table, lock.mode.value) for lock in first.locks] == [
            ("library_book", "ACCESS EXCLUSIVE"),
            ("library_shelf", "SHARE ROW EXCLUSIVE"),
        ]
        # Nobody has analysed it; the index comes at the end.
        assert first.locks[0].rows is None
        assert migration.operations[-1].description == "At the end of the migration"
        assert codes([migration]) == [Code.BLOCKING_INDEX_BUILD]

    def test_an_empty_database_has_only_new_tables(self, scratch: str, install: Install) -> None:
        install("orchard", "quarry", "ledger")

        plan = read_plan(scratch)

        locks = [lock for migration in plan for one in migration.statements for lock in one.locks]
        assert plan[0].key == ("contenttypes", "0001_initial")
        assert locks
        assert all(lock.is_new for lock in locks)
        assert set(codes(plan)) == {Code.UNKNOWN_SQL}
        assert connections[scratch].introspection.table_names() == []

    def test_of_nothing_pending(self, library: Library) -> None:
        assert library() == []


class TestHazards:
    @pytest.mark.parametrize(
        ("operation", "expected"),
        [
            ('AddField("Shelf", "r", models.FloatField(db_default=Random()))', "TABLE_REWRITE"),
            ('AlterField("Shelf", "place", models.BigIntegerField(null=True))', "TABLE_REWRITE"),
            ('AddIndex("Shelf", models.Index(fields=["name"], name="n"))', "BLOCKING_INDEX_BUILD"),
            (
                'AddConstraint("Shelf", models.UniqueConstraint(fields=["name"], name="u"))',
                "BLOCKING_INDEX_BUILD",
            ),
            ('RemoveField("Shelf", "place")', "DATA_LOSS"),
            ('DeleteModel("Book")', "DATA_LOSS"),
            ('AlterField("Shelf", "name", models.CharField(max_length=80))', None),
            ('AlterField("Shelf", "name", models.TextField())', None),
            ('RunSQL("UPDATE library_shelf SET place = 1")', "IRREVERSIBLE"),
            ('RunSQL("DELETE FROM library_shelf", "")', "DATA_LOSS"),
            ('RunSQL("DO $$ BEGIN END $$", "")', "UNKNOWN_SQL"),
            ("RunPython(code, migrations.RunPython.noop)", "UNKNOWN_SQL"),
            ("RunPython(migrations.RunPython.noop, migrations.RunPython.noop)", None),
            ('RenameModel("Book", "Volume")', None),
        ],
    )
    def test_of_one_operation(self, library: Library, operation: str, expected: str | None) -> None:
        body = f"operations = [migrations.{operation}]".replace(
            "Random()", "models.functions.Random()"
        )

        assert codes(library(body)) == ([Code[expected]] if expected else [])

    def test_a_check_and_not_null(self, library: Library) -> None:
        plan = library(
            "operations = [migrations.RunSQL('ALTER TABLE library_shelf ADD CONSTRAINT c "
            "CHECK (place > 0)', ''), migrations.RunSQL('ALTER TABLE library_shelf "
            "ALTER place SET NOT NULL', '')]"
        )

        assert codes(plan) == [Code.CONSTRAINT_VALIDATION, Code.NOT_NULL_SCAN]
        assert "library_shelf" in plan[0].hazards[0].message

    def test_a_narrower_type_loses_and_rewrites(self, library: Library) -> None:
        plan = library(
            'operations = [migrations.AlterField("Shelf", "name", models.CharField(max_length=8))]'
        )

        assert codes(plan) == [Code.TABLE_REWRITE, Code.DATA_LOSS]
        assert "character varying(40) to varchar(8)" in plan[0].hazards[1].message

    def test_what_goes_is_counted(self, library: Library) -> None:
        (migration,) = library(
            'operations = [migrations.DeleteModel("Book"), migrations.DeleteModel("Shelf")]'
        )

        assert [hazard.message for hazard in migration.hazards] == [
            "Table library_book goes, with all its rows.",
            "Table library_shelf goes, with about 700 rows.",
        ]

    def test_our_three_steps_to_not_null_are_clean(self, library: Library) -> None:
        plan = library(
            'operations = [ours.RequireNotNull("Shelf", ["place", "depth"])]',
            'operations = [ours.ValidateNotNull("Shelf", ["place", "depth"])]',
            'operations = [ours.SetNotNull("Shelf", ["place", "depth"])]',
        )

        assert codes(plan) == []
        assert [
            [lock.mode.value for statement in one.statements for lock in statement.locks]
            for one in plan
        ] == [
            ["ACCESS EXCLUSIVE"],
            ["SHARE UPDATE EXCLUSIVE"],
            ["SHARE UPDATE EXCLUSIVE", "ACCESS EXCLUSIVE", "ACCESS EXCLUSIVE"],
        ]

    def test_without_the_second_step_the_third_reads_as_gently(self, library: Library) -> None:
        plan = library(
            'operations = [ours.RequireNotNull("Shelf", ["place"])]',
            'operations = [ours.SetNotNull("Shelf", ["place"])]',
        )

        assert codes(plan) == []

    def test_a_check_that_nobody_has_read_is_no_proof(self, library: Library) -> None:
        plan = library(
            'operations = [ours.RequireNotNull("Shelf", ["place"])]',
            'operations = [migrations.RunSQL("ALTER TABLE library_shelf ALTER place SET NOT NULL", '
            '"ALTER TABLE library_shelf ALTER place DROP NOT NULL")]',
        )

        assert codes(plan) == [Code.NOT_NULL_SCAN]

    def test_our_other_operations_are_told(self, library: Library) -> None:
        plan = library(
            'operations = [ours.AlterComments("Shelf", "What; holds", {"name": "It\'s 100% so"}), '
            'ours.RefuseRows([("library_shelf", "r", "true")]), '
            'ours.MoveRows([("library_shelf", "r", "true")])]'
        )

        assert codes(plan) == []
        assert [statement.sql for statement in plan[0].statements] == [
            """COMMENT ON TABLE "library_shelf" IS 'What; holds'""",
            """COMMENT ON COLUMN "library_shelf"."name" IS 'It''s 100% so'""",
        ]

    def test_concurrently_alone_is_clean(self, library: Library) -> None:
        plan = library(
            'atomic = False\noperations = [AddIndexConcurrently("Shelf", '
            'models.Index(fields=["name"], name="shelf_name"))]'
        )

        assert codes(plan) == []
        assert plan[0].statements[0].locks[0].mode.value == "SHARE UPDATE EXCLUSIVE"

    def test_concurrently_in_a_transaction_is_told_to_fail(self, library: Library) -> None:
        plan = library(
            'operations = [migrations.RunSQL("CREATE INDEX CONCURRENTLY x ON library_shelf (name)",'
            ' "")]'
        )

        assert codes(plan) == [Code.NOT_IN_TRANSACTION]


class TestNothingIsDone:
    def test_python_inside_of_a_state_change_is_not_run(self, library: Library) -> None:
        plan = library(
            "operations = [migrations.SeparateDatabaseAndState(database_operations=["
            "migrations.RunPython(code), migrations.SeparateDatabaseAndState(["
            "migrations.RunPython(code, code)])])]"
        )

        assert codes(plan) == [Code.IRREVERSIBLE, Code.UNKNOWN_SQL, Code.UNKNOWN_SQL]
        assert "Python code (code) runs here" in plan[0].hazards[1].message

    @pytest.mark.parametrize("first", ["SELECT 1", "COMMIT"])
    def test_an_operation_that_writes_at_once_is_refused(
        self, library: Library, scratch: str, first: str
    ) -> None:
        plan = library(
            f"""
            class Sneaky(migrations.operations.base.Operation):
                reversible = True
                def state_forwards(self, app_label, state): pass
                def database_forwards(self, app_label, schema_editor, from_state, to_state):
                    with schema_editor.connection.cursor() as cursor:
                        cursor.execute("{first}")
                        cursor.execute("DELETE FROM library_shelf")
                def database_backwards(self, *args): pass
                def describe(self): return "Sneaky"
            operations = [
                Sneaky(),
                Sneaky(),
                migrations.AddField("Shelf", "late", models.IntegerField(null=True)),
            ]
            """
        )

        with connections[scratch].cursor() as cursor:
            cursor.execute("SELECT count(*) FROM library_shelf")
            assert cursor.fetchone() == (700,)
        assert codes(plan) == [Code.UNKNOWN_SQL, Code.UNKNOWN_SQL]
        assert all("read-only transaction" in hazard.message for hazard in plan[0].hazards)
        # And the plan goes on.
        assert plan[0].statements[0].locks[0].rows == 700

    def test_no_lock_is_taken_that_anybody_would_meet(self, library: Library, scratch: str) -> None:
        locker = connections[scratch].copy()
        locker.set_autocommit(False)
        with locker.cursor() as cursor:
            cursor.execute("LOCK TABLE library_shelf")
        try:
            (migration,) = library(
                'operations = [migrations.AddField("Shelf", "w", models.IntegerField(null=True))]'
            )
        finally:
            locker.rollback()
            locker.close()

        # Its size is behind the lock; that is waited for no longer than two seconds.
        (lock,) = migration.statements[0].locks
        assert lock.rows == 700
        assert lock.size_bytes is None

    def test_the_connection_is_as_it_was(self, library: Library, scratch: str) -> None:
        before = connections[scratch]

        library('operations = [migrations.RunSQL("SELECT 1", "")]')

        assert connections[scratch] is before
        with before.cursor() as cursor:
            cursor.execute("SHOW default_transaction_read_only")
            assert cursor.fetchone() == ("off",)


def plan(alias: str, *words: str, **options: Any) -> str:
    out = io.StringIO()
    call_command("schema_plan", *words, database=alias, stdout=out, **options)
    return out.getvalue().removeprefix(f"Database: {alias}\n")


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
