"""The emergency reset: what it drops and builds, and each guard that keeps it from doing so."""

from __future__ import annotations

import io
import json
import os
import pty
import shlex
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder
from django.db.models.signals import post_migrate, pre_migrate

from hodei.schema import MigrationService
from hodei.schema import signals as hooks
from hodei.schema.backup import BackupFailed
from hodei.schema.catalog.inspection import read_catalog
from hodei.schema.history import read_runs
from hodei.schema.replay.sessions import never_kept, private_connection
from hodei.schema.reset import guards
from hodei.schema.reset.choice import AppsNotChosen
from hodei.schema.reset.guards import (
    ResetNotAllowed,
    ResetNotConfirmed,
    ResetRefused,
    RowsChanged,
    SchemaChanged,
)
from hodei.schema.reset.service import AfterwardsFailed, ResetBlocked, ResetFailed
from hodei.schema.stakes import TablesBusy
from tests.databases import alias_of, forget, new_database
from tests.processes import ROOT, eventually

Install = Callable[..., None]

BOOKKEEPING = ("schema_migration_runs",)


@pytest.fixture
def server(settings: Any) -> dict[str, Any]:
    """What lets an alias find pg_dump: the embedded engine has programs of its own."""
    own = connections["default"].settings_dict
    return {name: own[name] for name in ("ENGINE", "EMBEDDED_DIRECTORY") if name in own}


@pytest.fixture
def allowed(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reset is allowed, waits for no lock long, and has a current folder of its own."""
    settings.HODEI_ALLOW_RESET = True
    settings.HODEI_SCHEMA_LOCK_TIMEOUT = 0.3
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def alias(
    database: dict[str, Any],
    point_alias: Callable[..., str],
    server: dict[str, Any],
    allowed: None,
) -> str:
    """An empty database."""
    return point_alias(database, **server)


@pytest.fixture(scope="module")
def template(django_db_setup: None, django_db_blocker: Any) -> Iterator[str]:
    """The name of a database with the apps depot and hauler, and a row more than they make."""
    from django.test import override_settings

    names = [f"tests.schema.apps.{name}" for name in ("depot", "hauler")]
    with (
        django_db_blocker.unblock(),
        new_database() as found,
        override_settings(
            INSTALLED_APPS=["django.contrib.contenttypes", "hodei.schema", *names],
        ),
    ):
        with alias_of(found, "template") as alias:
            migrate(alias)
            execute(alias, "INSERT INTO depot_shelf (label) VALUES ('mine')")
        yield found["NAME"]


@pytest.fixture
def depot(
    template: str,
    point_alias: Callable[..., str],
    server: dict[str, Any],
    install: Install,
    allowed: None,
) -> Iterator[str]:
    """A copy of the template, with its apps installed."""
    install("depot", "hauler")
    with new_database(template) as found:
        yield point_alias(found, **server)
        forget("scratch")


@contextmanager
def session(alias: str, **options: Any) -> Iterator[psycopg.Connection[Any]]:
    """Somebody else's session."""
    settings = connections[alias].settings_dict
    with psycopg.connect(
        host=settings["HOST"],
        port=settings["PORT"],
        user=settings["USER"],
        password=settings["PASSWORD"],
        dbname=settings["NAME"],
        autocommit=True,
        **options,
    ) as connection:
        yield connection


def migrate(alias: str, *words: str) -> None:
    call_command("migrate", *words, database=alias, verbosity=0)


def execute(alias: str, sql: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql)


def rows(alias: str, sql: str) -> list[tuple[Any, ...]]:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql)
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


def name_of(alias: str) -> str:
    return str(connections[alias].settings_dict["NAME"])


def content(alias: str) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of every table but the history's."""
    tables = [
        name
        for (name,) in rows(alias, "SELECT relname FROM pg_class WHERE relkind = 'r' AND "
                                   "relnamespace = 'public'::regnamespace ORDER BY 1")
        if name not in BOOKKEEPING
    ]  # fmt: skip
    return {t: sorted(map(repr, rows(alias, f"SELECT * FROM {quoted(t)}"))) for t in tables}


def quoted(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))


def catalog(alias: str) -> Any:
    with private_connection(alias) as connection, never_kept(connection):
        return read_catalog(connection, "public")


@contextmanager
def unchanged(alias: str) -> Iterator[None]:
    """Tables, rows, and whatever else there is are the same after the block, the history apart."""
    before = catalog(alias), content(alias), identities(alias)
    yield
    assert (catalog(alias), content(alias), identities(alias)) == before


def identities(alias: str) -> list[tuple[Any, ...]]:
    """The numbers of the tables: what is dropped and built again has others."""
    return rows(
        alias,
        "SELECT oid, relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname "
        "!~ '^(schema_migration_runs|django_migrations)' ORDER BY oid",
    )


def reset(alias: str, *words: str, **options: Any) -> str:
    """The command, confirmed; returns what it printed."""
    out = io.StringIO()
    given = {"confirm": name_of(alias), "no_backup": "backup" not in options, **options}
    call_command("schema_reset", *words, database=alias, stdout=out, stderr=out, **given)
    return out.getvalue()


def outcomes(alias: str, app: str) -> list[tuple[str, str, str]]:
    """(name, direction, outcome) of an app, oldest first."""
    found = reversed(read_runs(alias, app=app))
    return [(run.name, run.direction.value, run.outcome) for run in found]


def check_valid(alias: str) -> None:
    validation = MigrationService(alias).validate()
    assert validation.is_valid, validation.findings


class TestReset:
    def test_drops_what_the_app_made_and_builds_it_again(self, depot: str) -> None:
        before = dict(identities(depot))
        shown = reset(depot)

        assert content(depot)["depot_shelf"] == ["(1, 'first')"]
        assert (
            not {oid for oid, name in before.items() if name.startswith("depot")}
            & dict(identities(depot)).keys()
        )
        assert [one for one in dict(identities(depot)).items() if "hauler" in one[1]] == [
            one for one in before.items() if "hauler" in one[1]
        ]
        assert "depot_crate      depot  1" in shown
        assert "depot_shelf      depot  2" in shown
        assert "Reset: 2 tables with 3 rows dropped, 3 migrations run." in shown
        assert max(len(line) for line in shown.splitlines()) <= 100
        check_valid(depot)

    def test_the_history_tells_of_both_ways(self, depot: str) -> None:
        made = outcomes(depot, "depot")
        reset(depot)

        names = ["0001_initial", "0002_stock", "0003_index"]
        assert outcomes(depot, "depot") == [
            *made,
            *((name, "backward", "reset") for name in reversed(names)),
            *((name, "forward", "ok") for name in names),
        ]
        (batch,) = {run.batch for run in read_runs(depot, app="depot")[:6]}
        assert batch not in {run.batch for run in read_runs(depot, app="depot")[6:]}
        assert read_runs(depot, app="depot")[0].command == "schema_reset"

    def test_records_of_other_apps_stay_as_they_are(self, depot: str) -> None:
        recorder = MigrationRecorder(connections[depot])
        others = list(recorder.migration_qs.exclude(app="depot").values())
        reset(depot)

        assert list(recorder.migration_qs.exclude(app="depot").values()) == others
        assert len(recorder.migration_qs.filter(app="depot")) == 3
        migrate(depot)

    def test_an_empty_database_is_built(self, alias: str, install: Install) -> None:
        install("depot")

        assert "0 tables with 0 rows dropped, 3 migrations run" in reset(alias)
        assert content(alias)["depot_shelf"] == ["(1, 'first')"]

    def test_signals_are_those_of_migrate(self, depot: str) -> None:
        seen: list[tuple[Any, ...]] = []

        def before(**facts: Any) -> None:
            seen.append(("pre", facts["using"], [(str(m), b) for m, b in facts["plan"]]))

        def after(apps: Any, **_facts: Any) -> None:
            with session(depot) as other:  # it sees what is committed
                labels = other.execute("SELECT label FROM depot_shelf").fetchall()
            seen.append(("post", apps.get_model("depot", "Crate")._meta.db_table, labels))

        def finished(results: Any, success: bool, **_facts: Any) -> None:
            seen.append(("finished", len(results), success))

        from django.apps import apps as installed

        sender = installed.get_app_config("depot")
        pre_migrate.connect(before, sender=sender)
        post_migrate.connect(after, sender=sender)
        hooks.run_finished.connect(finished)
        try:
            reset(depot)
        finally:
            pre_migrate.disconnect(before, sender=sender)
            post_migrate.disconnect(after, sender=sender)
            hooks.run_finished.disconnect(finished)

        plan = [(f"depot.{name}", False) for name in ("0001_initial", "0002_stock", "0003_index")]
        assert seen == [
            ("pre", depot, plan),
            ("finished", 6, True),
            ("post", "depot_crate", [("first",)]),
        ]

    def test_a_receiver_that_fails_afterwards_is_told_apart(self, depot: str) -> None:
        def fail(**_facts: Any) -> None:
            raise ValueError("no mail server")

        post_migrate.connect(fail)
        try:
            plan = MigrationService(depot).plan_reset()
            with pytest.raises(AfterwardsFailed, match=r"The schema is reset.*no mail"):
                MigrationService(depot).reset(plan, confirm=plan.database, backup=None)
        finally:
            post_migrate.disconnect(fail)
        check_valid(depot)

    def test_what_was_dropped_by_hand_is_built_again(self, depot: str) -> None:
        execute(depot, "DROP VIEW depot_labels; DROP TABLE depot_crate")

        assert "1 table with 2 rows dropped" in reset(depot)
        check_valid(depot)

    def test_what_was_added_by_hand_is_told_and_goes(self, depot: str) -> None:
        execute(
            depot,
            "CREATE INDEX quick ON depot_shelf (label); GRANT SELECT ON depot_crate TO PUBLIC",
        )
        shown = reset(depot)

        assert "Note: No migration makes index depot_shelf.quick, so it goes for good." in shown
        assert "Note: No migration makes privileges depot_crate, so it goes for good." in shown
        check_valid(depot)

    def test_a_record_without_a_file_goes_and_is_told(self, depot: str) -> None:
        MigrationRecorder(connections[depot]).record_applied("depot", "0009_gone")
        shown = reset(depot)

        assert "Recorded, and not on disk: depot.0009_gone." in " ".join(shown.split())
        assert rows(depot, "SELECT FROM django_migrations WHERE name = '0009_gone'") == []
        assert ("0009_gone", "backward", "reset") in outcomes(depot, "depot")

    def test_half_applied_it_is_built_to_the_end(self, alias: str, install: Install) -> None:
        install("depot")
        migrate(alias)
        migrate(alias, "depot", "0001")
        shown = reset(alias, backup=Path("half.dump"))

        assert content(alias)["depot_shelf"] == ["(1, 'first')"]
        assert "correct the records with migrate APP NAME --fake" in " ".join(shown.split())
        check_valid(alias)

    def test_what_other_apps_wrote_stays_and_is_told(self, depot: str) -> None:
        execute(depot, "INSERT INTO hauler_trip (crate_id) VALUES (1)")
        shown = " ".join(reset(depot).split())

        assert "hauler.0001_initial stays applied, and was run after depot.0001_initial" in shown
        assert content(depot)["hauler_trip"] == ["(1, 1)"]

    def test_two_apps_at_once_and_in_either_order(self, depot: str) -> None:
        reset(depot, "hauler", "depot")

        assert content(depot)["hauler_trip"] == []
        assert [key for key, *_ in outcomes(depot, "hauler")] == ["0001_initial"] * 3
        check_valid(depot)

    def test_only_the_database_that_was_named(
        self, depot: str, template: str, server: dict[str, Any]
    ) -> None:
        with new_database(template) as found, alias_of({**found, **server}, "second") as second:
            with unchanged(depot):
                reset(second)
            with unchanged(second), pytest.raises(CommandError, match="is not the name of this"):
                reset(second, confirm=name_of(depot))

    def test_where_a_router_allows_no_table_there_is_none(
        self, alias: str, install: Install, settings: Any
    ) -> None:
        install("ledger")
        settings.DATABASE_ROUTERS = ["tests.schema.routers.NoLedger"]
        execute(alias, "CREATE TABLE ledger_entry (id int); INSERT INTO ledger_entry VALUES (7)")
        MigrationRecorder(connections[alias]).ensure_schema()
        MigrationRecorder(connections[alias]).record_applied("ledger", "0001_initial")

        plan = MigrationService(alias).plan_reset(["ledger"])

        assert plan.rows == {}


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


class TestChoice:
    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (["depto"], "There is no app 'depto'. Did you mean depot"),
            (["bare"], "App 'bare' has no migrations"),
        ],
    )
    def test_what_cannot_be_chosen(
        self, alias: str, install: Install, words: list[str], told: str
    ) -> None:
        install("depot", "bare")
        with pytest.raises(CommandError, match=told) as caught:
            reset(alias, *words)
        assert caught.value.returncode == 2

    def test_no_app_says_that_it_is_meant(self, alias: str, install: Install) -> None:
        install("ledger")
        with pytest.raises(AppsNotChosen, match="so the apps must be named"):
            MigrationService(alias).plan_reset()


class TestAllowed:
    def test_refused_unless_the_setting_is_true(self, depot: str, settings: Any) -> None:
        plan = MigrationService(depot).plan_reset()
        with unchanged(depot):
            for value in (False, None, "1", 1):
                settings.HODEI_ALLOW_RESET = value
                with pytest.raises(ResetNotAllowed, match="HODEI_ALLOW_RESET = True"):
                    MigrationService(depot).reset(plan, confirm=plan.database, backup=None)
            with pytest.raises(CommandError) as caught:
                reset(depot)
            assert caught.value.returncode == 1

    @pytest.mark.parametrize("debug", [True, False])
    def test_without_the_setting_it_is_what_debug_is(
        self, depot: str, settings: Any, debug: bool
    ) -> None:
        del settings.HODEI_ALLOW_RESET
        settings.DEBUG = debug
        if debug:
            assert "Reset: " in reset(depot)
        else:
            with unchanged(depot), pytest.raises(CommandError, match="do not allow a reset"):
                reset(depot)

    @pytest.mark.parametrize(
        ("variables", "allowed"),
        [
            ({}, "False"),
            ({"DEBUG": "1"}, "True"),
            ({"HODEI_ALLOW_RESET": "1"}, "True"),
            ({"DEBUG": "1", "HODEI_ALLOW_RESET": "0"}, "False"),
        ],
    )
    def test_by_the_environment(self, variables: dict[str, str], allowed: str) -> None:
        from tests.processes import environment

        code = "from hodei import settings; print(settings.HODEI_ALLOW_RESET)"
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment(**{"HODEI_ALLOW_RESET": "", **variables}),
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == allowed


class TestConfirmed:
    def test_another_name_is_refused(self, depot: str) -> None:
        plan = MigrationService(depot).plan_reset()
        with unchanged(depot):
            for name in ("", "other", depot, plan.database.upper(), f"{plan.database} "):
                with pytest.raises(ResetNotConfirmed, match=plan.database):
                    MigrationService(depot).reset(plan, confirm=name, backup=None)
            with pytest.raises(CommandError) as caught:
                reset(depot, confirm="other")
            assert caught.value.returncode == 1

    def test_there_is_nobody_to_ask(self, depot: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdin", io.StringIO(name_of(depot)))
        with unchanged(depot), pytest.raises(CommandError, match="--confirm NAME") as caught:
            reset(depot, confirm=None)
        assert caught.value.returncode == 2

    @pytest.mark.parametrize("answer", ["right", "wrong"])
    def test_it_is_asked_for_on_a_terminal(
        self, depot: str, monkeypatch: pytest.MonkeyPatch, answer: str
    ) -> None:
        keyboard, terminal = pty.openpty()
        typed = name_of(depot) if answer == "right" else "hodei"
        os.write(keyboard, f"{typed}\n".encode())
        with os.fdopen(terminal) as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            if answer == "right":
                assert f"Type the name of the database to drop all of this ({typed})" in reset(
                    depot, confirm=None
                )
            else:
                with unchanged(depot), pytest.raises(CommandError, match="is not the name"):
                    reset(depot, confirm=None)
        os.close(keyboard)

    def test_there_is_no_option_that_answers_without_the_name(self) -> None:
        from hodei.schema.management.commands.schema_reset import Command

        text = Command().create_parser("manage.py", "schema_reset").format_help()

        assert "no-input" not in text
        assert "noinput" not in text


# What somebody else has made of ours, and how it is called in the refusal.
DEPENDENCIES = (
    "CREATE TABLE a_key (shelf bigint CONSTRAINT their_fk REFERENCES depot_shelf)",
    "Constraint their_fk on table a_key depends on table depot_shelf",
    "ALTER TABLE hauler_trip ADD CONSTRAINT trip_fk FOREIGN KEY (crate_id) REFERENCES depot_crate",
    "Constraint trip_fk on table hauler_trip depends on table depot_crate",
    "CREATE VIEW a_view AS SELECT label FROM depot_shelf",
    "View a_view depends on table depot_shelf",
    "CREATE MATERIALIZED VIEW a_copy AS SELECT label FROM depot_labels",
    "Materialized view a_copy depends on view depot_labels",
    "CREATE TRIGGER a_trigger AFTER INSERT ON hauler_trip EXECUTE FUNCTION depot_touch()",
    "Trigger a_trigger on table hauler_trip depends on function depot_touch()",
    "CREATE TABLE a_column (size depot_size)",
    "Column size of table a_column depends on type depot_size",
    "CREATE TABLE a_default (n int DEFAULT nextval('depot_ticket'))",
    "Default value for column n of table a_default depends on sequence depot_ticket",
    "CREATE TABLE an_heir () INHERITS (depot_shelf)",
    "Table an_heir depends on table depot_shelf",
    "CREATE POLICY a_policy ON hauler_trip USING (crate_id IN (SELECT id FROM depot_crate))",
    "Policy a_policy on table hauler_trip depends on table depot_crate",
    "CREATE FUNCTION a_count() RETURNS bigint RETURN (SELECT count(*) FROM depot_crate)",
    "Function a_count() depends on table depot_crate",
    "CREATE PUBLICATION a_publication FOR TABLE depot_shelf",
    "Publication a_publication depends on table depot_shelf",
)
A_VIEW = DEPENDENCIES[4]


class TestOfOthers:
    def test_what_others_need_is_named_and_not_touched(self, depot: str) -> None:
        for sql in DEPENDENCIES[::2]:
            execute(depot, sql)
        with unchanged(depot):
            plan = MigrationService(depot).plan_reset()
            with pytest.raises(ResetRefused) as refused:
                MigrationService(depot).reset(plan, confirm=plan.database, backup=None)
            with pytest.raises(CommandError, match="View a_view depends on") as caught:
                reset(depot)
        assert caught.value.returncode == 1
        for told in DEPENDENCIES[1::2]:
            assert any(one.startswith(f"{told}: ") for one in refused.value.obstacles), told
        assert len(refused.value.obstacles) == len(DEPENDENCIES) / 2
        assert outcomes(depot, "depot")[-1] == ("0003_index", "forward", "ok")

    def test_one_that_came_after_the_look_is_found_too(self, depot: str) -> None:
        plan = MigrationService(depot).plan_reset()
        execute(depot, A_VIEW)
        with unchanged(depot), pytest.raises(SchemaChanged):
            MigrationService(depot).reset(plan, confirm=plan.database, backup=None)

    def test_one_that_comes_at_the_last_moment_stops_the_server(self, depot: str) -> None:
        """Readers are let in while the backup is written, and a view is made by readers."""
        plan = MigrationService(depot).plan_reset()

        def late(**_facts: Any) -> None:
            execute(depot, "CREATE VIEW late AS SELECT * FROM depot_crate")

        from django.apps import apps as installed

        sender = installed.get_app_config("depot")
        pre_migrate.connect(late, sender=sender)
        try:
            with unchanged(depot), pytest.raises(ResetRefused, match="view late depends on"):
                MigrationService(depot).reset(plan, confirm=plan.database, backup=None)
        finally:
            pre_migrate.disconnect(late, sender=sender)
        assert {outcome for *_, outcome in outcomes(depot, "depot")[3:]} == {"failed"}

    @pytest.mark.parametrize("chosen", ["depot", "errand"])
    def test_a_table_that_two_apps_have_made_is_reset_with_both(
        self, alias: str, install: Install, monkeypatch: pytest.MonkeyPatch, chosen: str
    ) -> None:
        monkeypatch.setenv("ERRAND_SQL", "ALTER TABLE depot_shelf ADD COLUMN extra int")
        install("depot", "errand")
        migrate(alias)

        with (
            unchanged(alias),
            pytest.raises(
                CommandError,
                match="depot_shelf is made by app depot and changed by migrations of app errand",
            ),
        ):
            reset(alias, chosen)
        reset(alias, "depot", "errand")
        assert rows(alias, "SELECT extra FROM depot_shelf") == [(None,)]

    def test_something_else_of_that_name_is_not_dropped(self, depot: str) -> None:
        execute(depot, "DROP VIEW depot_labels; CREATE TABLE depot_labels (mine int)")
        with (
            unchanged(depot),
            pytest.raises(CommandError, match="Table depot_labels has the name of the view"),
        ):
            reset(depot)

    def test_a_part_in_another_schema_is_named(self, alias: str, install: Install) -> None:
        install("foundry")
        migrate(alias)
        execute(
            alias,
            "CREATE SCHEMA old; CREATE TABLE old.foundry_event_2024 PARTITION OF foundry_event "
            "FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')",
        )
        with unchanged(alias), pytest.raises(CommandError, match="lies outside of schema public"):
            reset(alias, "foundry")

    def test_migrations_of_others_that_are_pending_are_not_run(
        self, alias: str, install: Install
    ) -> None:
        install("depot", "hauler")
        with pytest.raises(CommandError, match=r"needs depot\.0001_initial, which is not applied"):
            reset(alias, "hauler")

    def test_scripts_that_control_the_transaction_are_named_before(
        self, alias: str, install: Install, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        install("errand")
        migrate(alias)
        monkeypatch.setenv("ERRAND_SQL", "CREATE TABLE a (); COMMIT")
        with (
            unchanged(alias),
            pytest.raises(
                CommandError, match=r"errand.0001_initial cannot run in one transaction.*\(COMMIT\)"
            ),
        ):
            reset(alias, "errand")


class TestRows:
    def test_rows_that_came_after_the_count_are_named(self, depot: str) -> None:
        plan = MigrationService(depot).plan_reset()
        execute(depot, "INSERT INTO depot_shelf (label) VALUES ('late')")

        with unchanged(depot), pytest.raises(RowsChanged) as caught:
            MigrationService(depot).reset(plan, confirm=plan.database, backup=Path("none.dump"))

        assert caught.value.counts == {"depot_shelf": (2, 3)}
        assert "depot_shelf had 2 and has 3" in str(caught.value)
        assert not Path("none.dump").exists()
        assert len(outcomes(depot, "depot")) == 3, "nothing was attempted"

    @pytest.mark.parametrize(
        "sql",
        [
            "UPDATE depot_shelf SET label = 'late' WHERE id = 2",
            "DELETE FROM depot_shelf WHERE id = 2; INSERT INTO depot_shelf VALUES (2, 'late')",
        ],
    )
    def test_other_rows_of_the_same_number_are_named_too(self, depot: str, sql: str) -> None:
        plan = MigrationService(depot).plan_reset()
        with session(depot) as other:
            other.execute(sql)

        with unchanged(depot), pytest.raises(RowsChanged) as caught:
            MigrationService(depot).reset(plan, confirm=plan.database, backup=Path("none.dump"))

        assert caught.value.counts == {"depot_shelf": (2, 2)}
        assert "depot_shelf has 2 as before, and not the same ones" in str(caught.value)
        assert not Path("none.dump").exists()

    @pytest.mark.parametrize(
        "level",
        [psycopg.IsolationLevel.READ_COMMITTED, psycopg.IsolationLevel.REPEATABLE_READ],
        ids=str,
    )
    def test_a_writer_that_ends_while_its_lock_is_waited_for(
        self,
        depot: str,
        settings: Any,
        monkeypatch: pytest.MonkeyPatch,
        level: psycopg.IsolationLevel,
    ) -> None:
        """Also where the connection's transactions would see only what was there at their start."""
        settings.HODEI_SCHEMA_LOCK_TIMEOUT = 30
        monkeypatch.setitem(connections[depot].settings_dict, "OPTIONS", {"isolation_level": level})
        connections[depot].close()
        plan = MigrationService(depot).plan_reset()
        with session(depot) as writer, session(depot) as watcher, ThreadPoolExecutor(1) as pool:
            writer.execute("BEGIN; UPDATE depot_crate SET name = 'late'")

            def commit() -> bool:
                waited = eventually(
                    lambda: (
                        watcher.execute(
                            "SELECT FROM pg_locks WHERE NOT granted AND relation = "
                            "'depot_crate'::regclass AND mode = 'ExclusiveLock'"
                        ).fetchall()
                        != []
                    )
                )
                writer.execute("COMMIT")
                return waited

            committed = pool.submit(commit)
            with pytest.raises(RowsChanged) as caught:
                MigrationService(depot).reset(plan, confirm=plan.database, backup=None)
            assert committed.result()

        assert caught.value.counts == {"depot_crate": (1, 1)}
        assert content(depot)["depot_crate"] != []

    def test_a_schema_that_has_changed_is_looked_at_again(self, depot: str) -> None:
        plan = MigrationService(depot).plan_reset()
        migrate(depot, "depot", "0002")

        with unchanged(depot), pytest.raises(SchemaChanged):
            MigrationService(depot).reset(plan, confirm=plan.database, backup=None)

    def test_a_table_that_was_made_meanwhile(self, depot: str) -> None:
        plan = MigrationService(depot).plan_reset()
        execute(
            depot,
            "CREATE TABLE depot_shelf_head_rows "
            "(moved_at timestamptz, reason text, row_data jsonb)",
        )
        with unchanged(depot), pytest.raises(SchemaChanged):
            MigrationService(depot).reset(plan, confirm=plan.database, backup=None)


class TestBackup:
    def test_by_default_into_the_current_folder(self, depot: str, tmp_path: Path) -> None:
        shown = reset(depot, no_backup=False)

        (path,) = tmp_path.glob(f"{name_of(depot)}-*Z.dump")
        assert f"Backup: {path}, " in shown
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_every_row_is_back_by_the_command_that_was_printed(self, depot: str) -> None:
        before = content(depot)
        shown = reset(depot, backup=Path("b.dump"))
        assert content(depot) != before

        restore(depot, shown)

        assert without_records(content(depot)) == without_records(before)
        check_valid(depot)
        execute(depot, "INSERT INTO depot_shelf (label) VALUES ('next')")
        assert rows(depot, "SELECT max(id) FROM depot_shelf") == [(3,)]

    def test_no_limit_of_the_server_ends_the_session_that_waits_for_it(self, depot: str) -> None:
        execute(depot, f"ALTER DATABASE {name_of(depot)} SET idle_in_transaction_session_timeout "
                       "= '1h'")  # fmt: skip
        connections[depot].close()
        seen = []

        def look(**_facts: Any) -> None:
            seen.extend(rows(depot, "SHOW idle_in_transaction_session_timeout"))

        pre_migrate.connect(look)
        try:
            reset(depot)
        finally:
            pre_migrate.disconnect(look)
        assert set(seen) == {("0",)}

    @pytest.mark.parametrize("kind", ["folder that is not there", "no program", "exists"])
    def test_without_a_backup_nothing_is_dropped(
        self, depot: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / ("missing/b.dump" if kind.startswith("folder") else "b.dump")
        if kind == "exists":
            path.write_text("mine")
        plan = MigrationService(depot).plan_reset()
        if kind == "no program":
            # A pg_dump that dies in the middle, where the real one would be found.
            fake = tmp_path / "bin"
            fake.mkdir()
            for name in ("pg_dump", "pg_restore", "psql"):
                (fake / name).write_text(
                    '#!/bin/sh\ncase "$1" in --version) echo "pg_dump (PostgreSQL) 99";; '
                    "*) echo half; echo 'disk full' >&2; exit 1;; esac\n"
                )
                (fake / name).chmod(0o755)
            client = type(
                "Client",
                (connections[depot].client_class,),
                {"settings_to_cmd_args_env": classmethod(lambda *_: ([str(fake / "psql")], {}))},
            )
            monkeypatch.setattr(connections[depot], "client_class", client)

        with unchanged(depot), pytest.raises(BackupFailed) as caught:
            MigrationService(depot).reset(plan, confirm=plan.database, backup=path)

        assert caught.value.exit_code == 3
        if kind == "no program":
            assert "disk full" in str(caught.value)
        assert (path.read_text() == "mine") if kind == "exists" else not path.exists()
        assert len(outcomes(depot, "depot")) == 3, "nothing was attempted"

    def test_a_file_that_exists_is_refused_before_the_question(self, depot: str) -> None:
        Path("b.dump").write_text("mine")
        with pytest.raises(CommandError, match=r"b\.dump exists") as caught:
            reset(depot, backup=Path("b.dump"), confirm=None)
        assert caught.value.returncode == 2


class TestSessions:
    def test_who_writes_is_named_and_stops_it(self, depot: str) -> None:
        with session(depot, application_name="somebody") as other:
            other.execute("BEGIN; UPDATE depot_crate SET name = 'x'")
            with unchanged(depot), pytest.raises(CommandError) as caught:
                reset(depot, backup=Path("none.dump"))
            assert caught.value.returncode == 4
            assert f"pid {other.info.backend_pid} (somebody, " in str(caught.value)
            other.execute("ROLLBACK")
        assert not Path("none.dump").exists()

    def test_who_reads_stops_it_too(self, depot: str) -> None:
        with session(depot) as other:
            other.execute("BEGIN; SELECT * FROM depot_crate")
            plan = MigrationService(depot).plan_reset()
            assert [one.pid for one in plan.sessions] == [other.info.backend_pid]
            with unchanged(depot), pytest.raises(TablesBusy):
                MigrationService(depot).reset(plan, confirm=plan.database, backup=None)
            assert other.execute("SELECT count(*) FROM depot_crate").fetchone() == (1,)

    @pytest.mark.parametrize("statement", ["SELECT * FROM depot_crate",
                                           "UPDATE depot_crate SET name = ''"])  # fmt: skip
    def test_only_those_in_the_way_are_ended(self, depot: str, statement: str) -> None:
        with session(depot) as bystander, session(depot) as other:
            bystander.execute("BEGIN; SELECT * FROM hauler_trip")
            other.execute(f"BEGIN; {statement}")
            shown = reset(depot, terminate=True)

            assert f"schema_reset: ended pid {other.info.backend_pid} (" in shown
            assert shown.count("schema_reset: ended") == 1
            bystander.execute("SELECT 1; COMMIT")
            with pytest.raises(psycopg.OperationalError):
                other.execute("SELECT 1")
        check_valid(depot)

    def test_who_holds_a_table_that_ours_refer_to(
        self, alias: str, install: Install, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """To drop a foreign key takes a lock on both ends."""
        monkeypatch.setenv(
            "ERRAND_SQL",
            "CREATE TABLE errand_kind (kind_id int REFERENCES django_content_type)",
        )
        install("errand")
        migrate(alias)
        with session(alias, application_name="reader") as other:
            other.execute("BEGIN; SELECT * FROM django_content_type")
            with unchanged(alias), pytest.raises(CommandError, match="reader") as caught:
                reset(alias, "errand")
            assert caught.value.returncode == 4
            assert "ended pid" in reset(alias, "errand", terminate=True)
            with pytest.raises(psycopg.OperationalError):
                other.execute("SELECT 1")


class TestSessionsNotEnded:
    """Whoever is in the way and does not end: nothing is dropped."""

    @pytest.fixture
    def owner(
        self,
        database: dict[str, Any],
        point_alias: Callable[..., str],
        allowed: None,
        install: Install,
    ) -> Iterator[str]:
        """The app depot in a database whose role owns it, and may end nobody else's session."""
        role = f"{database['NAME']}_owner"
        alias = point_alias(database)
        execute(
            alias,
            f"CREATE ROLE {role}; ALTER SCHEMA public OWNER TO {role}; "
            f"GRANT CREATE ON DATABASE {database['NAME']} TO {role}",
        )
        try:
            point_alias(database, OPTIONS={"assume_role": role})
            install("depot")
            migrate(alias)
            yield alias
        finally:
            point_alias(database)
            execute(alias, f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")

    def test_that_of_a_role_that_one_may_not_end(self, owner: str) -> None:
        with session(owner, application_name="theirs") as other:
            pid = other.info.backend_pid
            other.execute("BEGIN; SELECT * FROM depot_crate")
            with unchanged(owner), pytest.raises(CommandError) as caught:
                reset(owner, terminate=True)
            assert other.execute("SELECT count(*) FROM depot_crate").fetchone() == (1,)

        assert caught.value.returncode == 3
        told = str(caught.value)
        assert 'could not be ended ("' in told
        assert "to terminate" in told
        assert "so nothing was changed" in told
        assert f"pid {pid} (theirs, " in told
        assert "pg_signal_backend" in told
        assert {outcome for *_, outcome in outcomes(owner, "depot")} == {"ok"}

    def test_one_that_the_server_does_not_end_in_time(
        self, depot: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(guards, "_END_WAIT_MS", 100)
        with session(depot, application_name="stuck") as other:
            pid = other.info.backend_pid
            other.execute("BEGIN; SELECT * FROM depot_crate")
            with (
                halted(pid),
                unchanged(depot),
                pytest.raises(CommandError) as caught,
            ):
                reset(depot, terminate=True)
            with pytest.raises(psycopg.OperationalError):
                other.execute("SELECT 1")

        assert caught.value.returncode == 3
        assert "did not end in time, so nothing was changed" in str(caught.value)
        assert f"pid {pid} (stuck, " in str(caught.value)
        assert len(outcomes(depot, "depot")) == 3, "nothing was attempted"


@contextmanager
def halted(pid: int) -> Iterator[None]:
    """The server's process does nothing at all inside the block."""
    found = subprocess.run(
        ["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    if "postgres" not in found.stdout:
        pytest.skip("the server's processes are not on this machine")
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


class TestFailure:
    def test_a_migration_that_raises_leaves_everything_as_it_was(
        self, depot: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DEPOT_SQL", "SELECT 1/0")
        plan = MigrationService(depot).plan_reset()
        with unchanged(depot), pytest.raises(ResetFailed) as caught:
            MigrationService(depot).reset(plan, confirm=plan.database, backup=Path("b.dump"))

        assert caught.value.exit_code == 5
        assert "Migration depot.0002_stock failed" in str(caught.value)
        assert "division by zero" in str(caught.value)
        assert "as it was before the reset" in str(caught.value)
        assert Path("b.dump").exists()
        found = read_runs(depot, app="depot")
        assert [(run.name, run.direction.value, run.outcome) for run in found[:5]] == [
            ("0002_stock", "forward", "failed"),
            ("0001_initial", "forward", "failed"),
            ("0001_initial", "backward", "failed"),
            ("0002_stock", "backward", "failed"),
            ("0003_index", "backward", "failed"),
        ]
        assert found[0].sqlstate == "22012"
        assert "Rolled back" in str(found[1].error)
        states = [one.state.value for one in status(depot)]
        assert states == ["applied"] * 3

    def test_python_that_controls_the_transaction_is_stopped(
        self, depot: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DEPOT_SQL", "COMMIT")
        with unchanged(depot), pytest.raises(CommandError, match=r"itself \(COMMIT\)") as caught:
            reset(depot)
        assert caught.value.returncode == 5

    def test_a_lock_that_a_migration_does_not_get(
        self, depot: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DEPOT_SQL", "LOCK TABLE hauler_trip")
        plan = MigrationService(depot).plan_reset()
        with session(depot) as other:
            other.execute("BEGIN; LOCK TABLE hauler_trip IN SHARE MODE")
            with pytest.raises(ResetBlocked) as caught:
                MigrationService(depot).reset(plan, confirm=plan.database, backup=None)
        assert caught.value.exit_code == 4
        assert "depot.0002_stock did not get its locks" in str(caught.value)

    def test_what_cannot_be_replayed_is_told(
        self, alias: str, install: Install, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        install("errand")
        migrate(alias)
        monkeypatch.setenv("ERRAND_SQL", "SELECT no_such_function()")
        with unchanged(alias), pytest.raises(CommandError, match="no_such_function") as caught:
            reset(alias, "errand")
        assert caught.value.returncode == 3


class TestDryRun:
    def test_shows_the_plan_and_changes_nothing(self, depot: str, settings: Any) -> None:
        settings.HODEI_ALLOW_RESET = False
        with unchanged(depot):
            shown = reset(depot, dry_run=True, confirm=None)

        assert "depot_shelf      depot  2" in shown
        assert "view depot_labels\nsequence depot_ticket\n" in shown
        assert "2 tables with 3 rows and 5 other objects would be dropped, and 3" in shown
        assert "Nothing was changed: this was a dry run." in shown
        assert list(Path().iterdir()) == []
        assert len(outcomes(depot, "depot")) == 3

    def test_says_what_stands_in_the_way(self, depot: str) -> None:
        execute(depot, A_VIEW)
        with pytest.raises(CommandError, match="View a_view depends") as caught:
            reset(depot, dry_run=True)
        assert caught.value.returncode == 1


def test_the_help_tells_a_newcomer_what_it_needs() -> None:
    from hodei.schema.management.commands.schema_reset import Command

    text = " ".join(Command().create_parser("manage.py", "schema_reset").format_help().split())

    for words in (
        "drop the tables of some apps, with all their rows",
        "What belongs to other apps is never touched.",
        "HODEI_ALLOW_RESET = True",
        "every app whose AppConfig has schema_owned = True",
        "The name of the database, for scripts",
        "Write no backup: the rows are gone for good.",
        "End other sessions that hold locks",
        "Exit codes: 0 done, 1 refused, 2 misuse",
    ):
        assert words in text, words


def restore(alias: str, shown: str) -> None:
    """Run the command that the reset has printed."""
    (line,) = (line for line in shown.splitlines() if line.startswith("Restore it with: "))
    done = subprocess.run(
        line.removeprefix("Restore it with: "),
        shell=True,
        env={**os.environ, "PGPASSWORD": connections[alias].settings_dict["PASSWORD"] or ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert shlex.split(line)


def without_records(found: dict[str, Any]) -> dict[str, Any]:
    """Without django_migrations, which tells when a migration was applied."""
    return {table: lines for table, lines in found.items() if table != "django_migrations"}


def migrate_all(alias: str, *targets: tuple[str, str | None]) -> None:
    """Past the refusal of migrate where an app has several last migrations."""
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connections[alias])
    leaves = [key for key in executor.loader.graph.leaf_nodes() if key[0] != "forked"]
    wanted = [target for target in targets if target[1]]
    executor.migrate([*leaves, *wanted])


def status(alias: str) -> list[Any]:
    from hodei.schema.status import read_status

    return [one for one in read_status(alias).migrations if one.app == "depot"]


@pytest.mark.process
class TestProcesses:
    """Several at once, and one that is killed."""

    @pytest.fixture
    def start(self, depot: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
        """A function that starts a command on the database of ``depot``."""
        found = connections[depot].settings_dict
        keys = ("ENGINE", "NAME", "HOST", "PORT", "USER", "PASSWORD", "EMBEDDED_DIRECTORY")
        default = {key: found[key] for key in keys if key in found}
        started = []

        def run(*words: str, **variables: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "django", *words],
                env={
                    **os.environ,
                    "DJANGO_SETTINGS_MODULE": "tests.schema.settings_alone",
                    "PYTHONPATH": str(ROOT),
                    "SCHEMA_TEST_DATABASES": json.dumps({"default": default}),
                    "SCHEMA_TEST_APPS": "tests.schema.apps.depot tests.schema.apps.hauler",
                    "SCHEMA_TEST_ALLOW_RESET": "1",
                    **variables,
                },
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            started.append(process)
            return process

        yield run
        for process in started:
            process.kill()
            process.communicate()

    def busy(self, alias: str, query: str) -> bool:
        return bool(
            rows(
                alias,
                "SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> "
                f"pg_backend_pid() AND query LIKE '{query}%' AND state = 'active'",
            )
        )

    def test_killed_in_the_middle_it_has_done_nothing(
        self, depot: str, start: Callable[..., Any]
    ) -> None:
        migrate(depot)
        with unchanged(depot):
            words = ["schema_reset", "--confirm", name_of(depot), "--no-backup"]
            process = start(*words, DEPOT_SQL="SELECT pg_sleep(60)")
            assert eventually(lambda: self.busy(depot, "SELECT pg_sleep(60)")), process.poll()
            process.send_signal(signal.SIGKILL)
            assert eventually(lambda: not self.busy(depot, "SELECT pg_sleep(60)"))
        # Two were done, in a transaction that is no more; the rest was not reached.
        found = outcomes(depot, "depot")[3:]
        assert [one[0] for one in found[3:]] == ["0001_initial", "0002_stock"]
        assert {outcome for *_, outcome in found} == {"interrupted"}
        assert {one.state.value for one in status(depot)} == {"applied"}
        reset(depot)
        check_valid(depot)

    def test_one_after_the_other(self, depot: str, start: Callable[..., Any]) -> None:
        """A reset that is held up in its middle, then a second one and a migrate."""
        words = ["schema_reset", "--confirm", name_of(depot), "--no-backup"]
        gate = "SELECT pg_advisory_xact_lock(42)"
        with session(depot) as other:
            other.execute("SELECT pg_advisory_lock(42)")
            # It waits for something else than a table, and is not to give up.
            first = start(*words, DEPOT_SQL=f"SET LOCAL lock_timeout = 0; {gate}")
            assert eventually(lambda: self.busy(depot, "SET LOCAL lock_timeout = 0; SELECT pg_ad"))
            second, third = start(*words), start("migrate")
            waiting = (
                "SELECT count(DISTINCT pid) FROM pg_stat_activity WHERE datname = "
                "current_database() AND application_name LIKE 'hodei migrate%'"
            )
            assert eventually(lambda: rows(depot, waiting) >= [(3,)])
            assert [one.poll() for one in (first, second, third)] == [None, None, None]
            other.execute("SELECT pg_advisory_unlock(42)")
        said = [one.communicate(timeout=60)[0] for one in (first, second, third)]

        assert [one.returncode for one in (first, second, third)] == [0, 0, 0], said
        assert "2 tables with 3 rows dropped" in said[0]
        assert "2 tables with 2 rows dropped" in said[1]
        assert {outcome for *_, outcome in outcomes(depot, "depot")} == {"ok", "reset"}
        assert len(outcomes(depot, "depot")) == 3 + 6 + 6
        check_valid(depot)

    def test_where_a_scratch_schema_will_not_do_a_temporary_database_does(
        self, depot: str, start: Callable[..., Any]
    ) -> None:
        """SQL that names the schema would reach out of a scratch schema."""
        variables = {
            "SCHEMA_TEST_APPS": "tests.schema.apps.depot tests.schema.apps.errand",
            "ERRAND_SQL": "CREATE TABLE public.errand_here (id int)",
        }
        for words in (["migrate"], ["schema_reset", "errand", "--confirm", name_of(depot)]):
            process = start(*words, **variables)
            said = process.communicate(timeout=60)[0]
            assert process.returncode == 0, said

        assert "errand_here      errand  0" in said
        assert "2 tables with 0 rows dropped, 1 migration run" in said
        assert rows(depot, "SELECT FROM pg_database WHERE datname LIKE 'hodei_rebuild%'") == []
        assert content(depot)["depot_shelf"] == ["(1, 'first')", "(2, 'mine')"]
