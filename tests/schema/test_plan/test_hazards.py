from __future__ import annotations

import pytest

from hodei.schema.plan.hazards import Code
from tests.schema.test_plan.kit import Library, codes


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
