from __future__ import annotations

import pytest
from django.db import connections

from hodei.schema.plan.collection import read_plan
from hodei.schema.plan.hazards import Code
from tests.schema.test_plan.kit import Install, Library, codes


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
