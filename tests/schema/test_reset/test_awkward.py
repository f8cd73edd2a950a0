"""Apps and objects that are not as usual."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.management.base import CommandError
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder

from tests.schema.test_reset.kit import (
    Install,
    catalog,
    check_valid,
    content,
    execute,
    migrate,
    outcomes,
    quoted,
    reset,
    restore,
    rows,
    unchanged,
    without_records,
)


class TestAwkward:
    """Apps and objects that are not as usual."""

    def test_squashed_migrations(self, alias: str, install: Install) -> None:
        install("quarry")
        migrate(alias)
        before = sorted(MigrationRecorder(connections[alias]).applied_migrations())
        reset(alias, "quarry")

        assert sorted(MigrationRecorder(connections[alias]).applied_migrations()) == before
        built = [one for one in outcomes(alias, "quarry") if one[1:] == ("forward", "ok")]
        assert [name for name, *_ in built] == ["0001_squashed_0002_weight", "0003_colour"] * 2
        check_valid(alias)

    def test_half_of_a_squashed_one_was_applied(self, alias: str, install: Install) -> None:
        install("quarry")
        migrate(alias, "contenttypes")
        execute(alias, "CREATE TABLE quarry_stone (id bigint PRIMARY KEY)")
        MigrationRecorder(connections[alias]).record_applied("quarry", "0001_initial")
        reset(alias, "quarry")

        assert ("quarry", "0001_squashed_0002_weight") in MigrationRecorder(
            connections[alias]
        ).applied_migrations()
        assert rows(alias, "SELECT weight, colour FROM quarry_stone") == []

    def test_branches_that_are_merged(self, alias: str, install: Install) -> None:
        install("orchard")
        migrate(alias)
        execute(alias, "INSERT INTO orchard_tree (height) VALUES (3)")

        assert "1 table with 1 row dropped, 4 migrations run" in reset(alias, "orchard")
        check_valid(alias)

    def test_branches_that_are_not_are_refused(self, alias: str, install: Install) -> None:
        install("forked", "depot")
        migrate_all(alias, ("forked", "0002_left"), ("forked", "0002_right"), ("depot", None))

        with unchanged(alias), pytest.raises(CommandError, match="2 last migrations") as caught:
            reset(alias, "forked")
        assert caught.value.returncode == 1
        reset(alias, "depot")

    def test_everything_that_sql_can_make(self, alias: str, install: Install) -> None:
        """Types, domains, policies, partitions, one made at run time, and views."""
        install("foundry")
        migrate(alias)
        execute(
            alias,
            """
            INSERT INTO foundry_queue (name) VALUES ('a'), ('b');
            INSERT INTO foundry_job (queue_id, key) VALUES (1, 'x');
            CREATE TABLE foundry_event_2026 PARTITION OF foundry_event
                FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
            INSERT INTO foundry_event VALUES (1, '2025-05-05'), (2, '2026-06-06');
            """,
        )
        before = content(alias)
        shown = reset(alias, "foundry", backup=Path("foundry.dump"))

        assert "foundry_event_2026  foundry  1" in shown
        assert "domain" not in shown
        assert {table: found for table, found in content(alias).items() if found and "foundry"
                in table} == {}  # fmt: skip
        check_valid(alias)
        restore(alias, shown)
        assert without_records(content(alias)) == without_records(before)
        check_valid(alias)

    def test_hostile_names(
        self, alias: str, install: Install, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        names = ['Odd "Name" %s; --', "x" * 63, "ña\N{SNOWMAN}me", "two\nlines", "public", "'"]
        tables = [quoted(name) for name in names]
        monkeypatch.setenv(
            "ERRAND_SQL",
            ";".join(
                f"CREATE TABLE {table} (id int); CREATE VIEW {view} AS SELECT * FROM {table}"
                for table, view in zip(tables, (f'"v{n}."' for n in range(9)), strict=False)
            ),
        )
        install("errand")
        migrate(alias)
        for table in tables:
            execute(alias, f"INSERT INTO {table} VALUES (1)")
        before = content(alias)
        shown = reset(alias, "errand", backup=Path("it's; a $file"))

        assert "7 tables with 6 rows dropped" in shown
        assert all(not content(alias)[name] for name in names)
        restore(alias, shown)
        assert without_records(content(alias)) == without_records(before)

    def test_archives_of_rows_go_with_their_table(self, depot: str) -> None:
        from hodei.schema.operations import move_rows

        with connections[depot].schema_editor() as editor:
            move_rows(editor, "depot_shelf", "not wanted", "label = 'mine'")
        execute(depot, "CREATE TABLE depot_crate_head_rows (mine int)")
        shown = reset(depot)

        assert "depot_shelf_head_rows  depot  1" in shown
        assert "depot_shelf_head_rows" not in content(depot)
        assert "depot_crate_head_rows" in content(depot), "it is no archive"

    def test_objects_that_need_each_other_across_kinds(
        self, alias: str, install: Install, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(
            "ERRAND_SQL",
            """
            CREATE FUNCTION errand_next() RETURNS int LANGUAGE sql RETURN 1;
            CREATE TABLE errand_a (id int PRIMARY KEY DEFAULT errand_next());
            CREATE TABLE errand_b (id int PRIMARY KEY, a int REFERENCES errand_a);
            ALTER TABLE errand_a ADD b int REFERENCES errand_b;
            CREATE FUNCTION errand_name(errand_a) RETURNS text LANGUAGE sql RETURN 'x';
            CREATE VIEW errand_v AS SELECT errand_name(a) FROM errand_a a;
            CREATE MATERIALIZED VIEW errand_m AS SELECT * FROM errand_v;
            CREATE TABLE errand_c OF errand_pair;
            CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = errand_same);
            CREATE AGGREGATE errand_sum(int) (SFUNC = int4pl, STYPE = int);
            CREATE PROCEDURE errand_do(IN a int, OUT b int) LANGUAGE sql AS 'SELECT 1';
            CREATE COLLATION errand_order (locale = 'C');
            CREATE STATISTICS errand_stats ON id, b FROM errand_a;
            CREATE TYPE errand_span AS RANGE (subtype = int);
            CREATE OPERATOR CLASS errand_ops FOR TYPE int USING hash AS OPERATOR 1 =;
            CREATE TEXT SEARCH CONFIGURATION errand_words (COPY = simple)
            """.replace(
                "CREATE TABLE errand_c",
                "CREATE TYPE errand_pair AS (x int); "
                "CREATE FUNCTION errand_same(int, int) RETURNS boolean LANGUAGE sql RETURN true; "
                "CREATE TABLE errand_c",
            ),
        )
        install("errand")
        migrate(alias)
        before = catalog(alias)
        shown = reset(alias, "errand")

        assert "4 tables with 0 rows dropped" in shown
        for word in ("operator ===", "aggregate errand_sum(integer)", "collation errand_order"):
            assert word in shown
        assert catalog(alias) == before

    def test_a_circle_of_several_kinds_is_refused(
        self, alias: str, install: Install, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(
            "ERRAND_SQL",
            "CREATE TABLE errand_a (id int); "
            "CREATE FUNCTION errand_f(errand_a) RETURNS int LANGUAGE sql RETURN 1; "
            "CREATE TABLE errand_b (a errand_a, CHECK (errand_f(a) > 0))",
        )
        install("errand")
        migrate(alias)

        with unchanged(alias), pytest.raises(CommandError, match=r"need each other.*errand_f"):
            reset(alias, "errand")


def migrate_all(alias: str, *targets: tuple[str, str | None]) -> None:
    """Past the refusal of migrate where an app has several last migrations."""
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connections[alias])
    leaves = [key for key in executor.loader.graph.leaf_nodes() if key[0] != "forked"]
    wanted = [target for target in targets if target[1]]
    executor.migrate([*leaves, *wanted])
