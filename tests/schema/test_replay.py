from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections, migrations, models
from django.db.migrations import AddField, AddIndex, CreateModel, Migration, RunPython
from django.db.migrations.loader import MigrationLoader

from hodei.schema.replay.forwards import Forwards
from hodei.schema.replay.scratch import replay
from hodei.schema.replay.sessions import CommitRefused, never_kept, private_connection
from hodei.schema.replay.twins import Notes, StatementRefused, transactional, twin_of


class TestTransactional:
    @pytest.mark.parametrize(
        ("sql", "expected"),
        [
            ("SELECT 1", "SELECT 1"),
            ("CREATE INDEX CONCURRENTLY i ON t (a)", "CREATE INDEX i ON t (a)"),
            ("drop index concurrently if exists i", "drop index if exists i"),
            ("SELECT 'CONCURRENTLY'", "SELECT 'CONCURRENTLY'"),
            ("VACUUM ANALYZE t; SELECT 1", "SELECT 1"),
            ("VACUUM t", "SELECT 1"),
            ('SAVEPOINT "a"', 'SAVEPOINT "a"'),
            ('ROLLBACK TO SAVEPOINT "a"', 'ROLLBACK TO SAVEPOINT "a"'),
            ("SELECT setval('t_id_seq', 1)", "SELECT setval('t_id_seq', 1)"),
            (
                "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; END",
                "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; END",
            ),
            ("DO $$ BEGIN PERFORM 1; COMMIT; END $$", "DO $$ BEGIN PERFORM 1; COMMIT; END $$"),
        ],
    )
    def test_gives_what_can_be_rolled_back(self, sql: str, expected: str) -> None:
        assert transactional(sql) == expected

    @pytest.mark.parametrize(
        "sql",
        [
            "COMMIT",
            "SELECT 1; commit;",
            "BEGIN",
            "/* here */ END",
            "ROLLBACK",
            "START TRANSACTION",
            "PREPARE TRANSACTION 'x'",
            "SELECT nextval('public.t_id_seq')",
            "SELECT setval('\"public\".t_id_seq', 9)",
        ],
    )
    def test_refuses_what_cannot(self, sql: str) -> None:
        with pytest.raises(StatementRefused):
            transactional(sql)


class TestTwin:
    def test_leaves_the_migration_as_it_is(self) -> None:
        def code(apps: object, schema_editor: object) -> None:
            raise AssertionError("It must not run.")

        migration = migrations.Migration("0001", "shop")
        migration.operations = [
            migrations.RunPython(code),
            migrations.SeparateDatabaseAndState(database_operations=[migrations.RunPython(code)]),
        ]
        notes = Notes()

        twin = twin_of(migration, notes, lambda _what: None)
        for operation in twin.operations:
            operation.database_forwards("shop", None, _State(), None)

        assert notes.python == ["shop.0001", "shop.0001"]
        assert migration.operations[0].code is code
        assert "database_forwards" not in vars(migration.operations[0])


class _State:
    def clone(self) -> _State:
        return self


class TestNeverKept:
    def test_nothing_can_commit(self, scratch: str) -> None:
        with private_connection(scratch) as connection:
            with never_kept(connection), connection.cursor() as cursor:
                cursor.execute("CREATE TABLE made (id int)")
            assert connection.introspection.table_names() == []
            with pytest.raises(CommitRefused):
                connection._commit()


class TestKept:
    """What is meant to stay, in a temporary database, runs as migrate would run it."""

    def test_python_code_sees_the_models_as_they_are(self, scratch: str) -> None:
        seen = []

        def look(apps: Any, schema_editor: Any) -> None:
            meta = apps.get_model("odd", "Tree")._meta
            seen.append(([one.name for one in meta.indexes], [one.name for one in meta.fields]))

        index = models.Index(fields=["height"], name="odd_height")
        migration = Migration("0001_initial", "odd")
        migration.operations = [
            CreateModel(
                "Tree",
                [("id", models.AutoField(primary_key=True)), ("height", models.IntegerField())],
            ),
            RunPython(look),
            AddIndex("tree", index),
            RunPython(look),
            AddField("tree", "name", models.TextField(default="")),
            RunPython(look),
        ]
        Forwards(connections[scratch], set(), kept=True).run(migration)

        assert seen == [
            ([], ["id", "height"]),
            (["odd_height"], ["id", "height"]),
            (["odd_height"], ["id", "height", "name"]),
        ]
        with connections[scratch].cursor() as cursor:
            found = connections[scratch].introspection.get_constraints(cursor, "odd_tree")
        assert "odd_height" in found

    @pytest.mark.parametrize(
        ("atomic", "own", "inside"),
        [(True, None, True), (False, None, False), (False, True, True)],
    )
    def test_it_has_the_transaction_that_it_asks_for(
        self, scratch: str, atomic: bool, own: bool | None, inside: bool
    ) -> None:
        seen = []

        def look(apps: Any, schema_editor: Any) -> None:
            seen.append(schema_editor.connection.in_atomic_block)

        migration = Migration("0001_initial", "odd")
        migration.atomic = atomic
        migration.operations = [RunPython(look, atomic=own)]
        Forwards(connections[scratch], set(), kept=True).run(migration)

        assert seen == [inside]

    def test_a_migration_that_runs_in_its_own_way_does(self, scratch: str) -> None:
        ran = []

        class Odd(Migration):
            def apply(self, project_state: Any, *rest: Any, **options: Any) -> Any:
                ran.append(self.name)
                return super().apply(project_state, *rest, **options)

        forwards = Forwards(connections[scratch], set(), kept=True)
        for name in ("0001_initial", "0002_more"):
            forwards.run(Odd(name, "odd"))

        assert ran == ["0001_initial", "0002_more"]


def test_what_is_read_between_migrations_is_not_looked_through(
    applied: Callable[..., str],
) -> None:
    """To take our own queries apart took a fifth of a reset's time."""
    seen = []

    with private_connection(applied("ledger")) as connection:

        def watch(app: str, _schema: str) -> None:
            seen.append((app, list(connection.execute_wrappers)))

        replay(connection, MigrationLoader(connection), (), watch)

    assert ("ledger", []) in seen
    assert {app for app, wrappers in seen if wrappers} == set()
