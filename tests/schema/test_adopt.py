"""``schema_adopt`` on an app of nobody here: what it shows, does, refuses and leaves."""

from __future__ import annotations

import io
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connections

from hodei.schema.adoption import service
from hodei.schema.adoption.shapes import is_wider, reasons
from hodei.schema.adoption.survey import survey
from hodei.schema.catalog.model import Column, Constraint, Relation
from hodei.schema.history import INTERRUPTED, read_runs
from hodei.schema.run.failures import MigrationBlocked, MigrationFailed
from hodei.schema.run.start import migration_run
from hodei.schema.service import MigrationService
from hodei.schema.stakes import TablesBusy
from tests.databases import new_database
from tests.schema.conftest import Run, run_forks
from tests.schema.forks import KILLED

Install = Callable[..., None]
Originals = Callable[[int], list[dict[str, Any]]]

#: As another program made them, by hand: no default, a key in SQL, names of its own.
PLOTS = """
CREATE TABLE plots (
    id bigserial PRIMARY KEY, name varchar(20) NOT NULL, kind varchar(20) NOT NULL DEFAULT 'FIELD',
    size integer DEFAULT 1, CONSTRAINT plots_name_key UNIQUE (name),
    CONSTRAINT plots_kind_check CHECK (kind IN ('FIELD', 'WOOD')));
CREATE INDEX plots_size_idx ON plots (size);
COMMENT ON COLUMN plots.name IS 'As on the map';
INSERT INTO plots (name, kind) SELECT 'plot ' || n, 'WOOD' FROM generate_series(1, 5) n;
"""
FENCES = """
CREATE TABLE fences (
    id bigserial PRIMARY KEY,
    plot_id bigint NOT NULL REFERENCES plots (id) DEFERRABLE INITIALLY DEFERRED,
    length integer NOT NULL);
INSERT INTO fences (plot_id, length) SELECT id, 10 FROM plots;
"""


CASCADE = """
ALTER TABLE fences DROP CONSTRAINT fences_plot_id_fkey,
    ADD FOREIGN KEY (plot_id) REFERENCES plots (id) ON DELETE CASCADE
"""

#: Why a database cannot be adopted, and what makes it so.
REASONS = {
    "it lacks name (character varying(20))": "ALTER TABLE plots DROP COLUMN name",
    "its size is bigint and not integer": "ALTER TABLE plots ALTER size TYPE bigint",
    "its name is text and not character varying": "ALTER TABLE plots ALTER name TYPE text",
    'its name has the collation "C"': """
        ALTER TABLE plots ALTER name TYPE varchar(9) COLLATE "C"
    """,
    "it demands a value for owner (integer)": """
        ALTER TABLE plots ADD owner int; UPDATE plots SET owner = 1;
        ALTER TABLE plots ALTER owner SET NOT NULL
    """,
    "it has acres already": "ALTER TABLE plots ADD acres int",
    "its row-level security is on": "ALTER TABLE plots ENABLE ROW LEVEL SECURITY",
    "it is a view and not a table": """
        ALTER TABLE fences RENAME TO other; CREATE VIEW fences AS SELECT 1 AS id
    """,
    "it is a partitioned table and not a table": """
        ALTER TABLE fences RENAME TO other;
        CREATE TABLE fences (id bigint, plot_id bigint NOT NULL, length int NOT NULL)
            PARTITION BY LIST (id)
    """,
    "Table barns is there already": "CREATE TABLE barns (id int)",
    "the name plots_size_idx is taken in this schema, on other": """
        DROP INDEX plots_size_idx; CREATE TABLE other (x int);
        CREATE INDEX plots_size_idx ON other (x)
    """,
    "the name fences_pkey is taken in this schema, on sequence fences_pkey": """
        DROP TABLE fences; CREATE SEQUENCE fences_pkey
    """,
    "5 rows of plots break plots_kind_check and what later migrations make of it": """
        ALTER TABLE plots DROP CONSTRAINT plots_kind_check; UPDATE plots SET kind = 'SEA'
    """,
    "2 rows of plots have the same name as another one": """
        ALTER TABLE plots DROP CONSTRAINT plots_name_key;
        UPDATE plots SET name = 'one' WHERE id < 3
    """,
    "1 row of plots have no name": """
        ALTER TABLE plots ALTER name DROP NOT NULL; UPDATE plots SET name = NULL WHERE id = 1
    """,
    "1 row of fences point at no row of plots (plot_id)": """
        ALTER TABLE fences DROP CONSTRAINT fences_plot_id_fkey;
        UPDATE fences SET plot_id = 99 WHERE id = 1
    """,
    # A key that stands and was never held against old rows.
    "1 row of fences point at no row": """
        ALTER TABLE fences DROP CONSTRAINT fences_plot_id_fkey;
        UPDATE fences SET plot_id = 99 WHERE id = 1;
        ALTER TABLE fences ADD FOREIGN KEY (plot_id) REFERENCES plots (id)
            DEFERRABLE INITIALLY DEFERRED NOT VALID
    """,
}


@pytest.fixture
def homestead(scratch: str, install: Install) -> str:
    """The alias of a database of the other program."""
    install("homestead")
    execute(scratch, PLOTS + FENCES)
    return scratch


@pytest.fixture
def another(database: dict[str, Any]) -> Iterator[psycopg.Connection[Any]]:
    with session(database) as connection:
        yield connection


@contextmanager
def session(database: dict[str, Any]) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(
        dbname=database["NAME"],
        host=database["HOST"],
        port=database["PORT"],
        user=database["USER"],
        password=database["PASSWORD"],
        application_name="somebody else",
        autocommit=True,
    ) as connection:
        yield connection


def execute(alias: str, sql: str) -> list[tuple[Any, ...]]:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else []


def adopt(alias: str, **options: Any) -> tuple[int, str]:
    """The exit code, and everything it said, on one line."""
    out = io.StringIO()
    options.setdefault("interactive", False)
    try:
        call_command("schema_adopt", database=alias, stdout=out, stderr=out, **options)
    except SystemExit as ended:
        return int(str(ended.code)), told(out)
    except CommandError as error:
        return error.returncode, f"{told(out)} {error}"
    return 0, told(out)


def adopt_the_baselines(alias: str) -> None:
    """Up to and with the one transaction: no migration follows, and nothing is validated."""
    with migration_run(alias, command="test") as run:
        found = survey(alias)
        service.adopt_baselines(alias, run, found, found.plan, retries=0)


def told(out: io.StringIO) -> str:
    return " ".join(out.getvalue().replace("\n--", "\n").replace("\n-", "\n").split())


def traces(alias: str) -> list[tuple[Any, ...]]:
    """Everything that somebody could notice: tables, columns, constraints, indexes and rows."""
    return execute(
        alias,
        """
        SELECT table_name::text, column_name::text, data_type || is_nullable, column_default
          FROM information_schema.columns WHERE table_schema NOT LIKE 'pg\\_%'
           AND table_schema <> 'information_schema'
        UNION ALL SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), ''
          FROM pg_constraint WHERE contype <> 'n' AND connamespace = 'public'::regnamespace
        UNION ALL SELECT tablename, indexname, indexdef, '' FROM pg_indexes
         WHERE schemaname = 'public'
        ORDER BY 1, 2, 3, 4
        """,
    )


def recorded(alias: str) -> list[str]:
    return [
        name
        for (name,) in execute(
            alias, "SELECT app || '.' || name FROM django_migrations ORDER BY id"
        )
    ]


class TestAdopting:
    def test_records_the_baseline_and_migrates_on(self, homestead: str) -> None:
        code, said = adopt(homestead)

        assert code == 0
        assert "Nothing differs from the baselines." not in said  # Django's key has another name
        assert recorded(homestead)[:3] == [
            "contenttypes.0001_initial",
            "homestead.0001_plot",
            "homestead.0002_fence",
        ]
        assert {"homestead.0004_index", "hodei_schema.0001_history"} <= set(recorded(homestead))
        assert "Applied before that: contenttypes.0001_initial" in said
        assert said.endswith("Schema valid: 7/7 migrations applied")
        assert MigrationService(homestead).validate().is_valid
        assert execute(homestead, "SELECT count(*) FROM plots") == [(5,)]

    def test_is_in_the_history_as_what_it_was(self, homestead: str) -> None:
        adopt(homestead)

        runs = {run.name: run for run in read_runs(homestead, app="homestead")}
        assert runs["0002_fence"].outcome == "adopted"
        assert runs["0002_fence"].checksum is not None
        assert runs["0002_fence"].command == "schema_adopt"
        assert runs["0003_acres"].outcome == "ok"

    def test_a_dry_run_touches_nothing(self, homestead: str) -> None:
        execute(homestead, "DROP INDEX plots_size_idx; ALTER TABLE plots ALTER size DROP DEFAULT")
        before = traces(homestead)

        code, said = adopt(homestead, dry_run=True)

        assert code == 0
        assert "Index plots.plots_size_idx is missing. CREATE INDEX plots_size_idx ON" in said
        assert "Nothing was changed: this was a dry run." in said
        assert traces(homestead) == before

    def test_no_line_is_wider_than_a_terminal(self, homestead: str) -> None:
        execute(
            homestead,
            f"ALTER TABLE plots DROP CONSTRAINT plots_kind_check; CREATE TABLE {'o' * 60} ()",
        )
        out = io.StringIO()

        call_command("schema_adopt", database=homestead, dry_run=True, stdout=out)

        assert max(map(len, out.getvalue().splitlines())) <= 100

    @pytest.mark.parametrize(
        ("change", "repair"),
        [
            ("ALTER TABLE plots ALTER size DROP DEFAULT", "SET DEFAULT 1"),
            ("ALTER TABLE plots ALTER kind DROP NOT NULL", "SET NOT NULL"),
            ("ALTER TABLE plots ALTER size SET NOT NULL", "DROP NOT NULL"),
            ("ALTER TABLE plots ALTER name TYPE varchar(10)", "TYPE character varying(20)"),
            ("ALTER TABLE plots DROP COLUMN size", 'ADD COLUMN "size" integer'),
            ("ALTER TABLE plots DROP CONSTRAINT plots_pkey CASCADE", "PRIMARY KEY (id)"),
            ("ALTER TABLE plots ALTER id DROP DEFAULT", "SET DEFAULT nextval("),
            ("DROP SEQUENCE plots_id_seq CASCADE", "ADD GENERATED BY DEFAULT AS IDENTITY"),
            ("ALTER TABLE plots DROP CONSTRAINT plots_name_key", "UNIQUE (name)"),
            ('ALTER TABLE plots RENAME CONSTRAINT plots_name_key TO "a \'b"" %"', "RENAME"),
            ("ALTER TABLE plots DROP CONSTRAINT plots_kind_check", "CHECK (kind::text = ANY"),
            ('ALTER INDEX plots_size_idx RENAME TO "größe %s"', "RENAME TO"),
            ("DROP INDEX plots_size_idx; CREATE INDEX plots_size_idx ON plots (kind)", "(size)"),
            ("CREATE INDEX plots_of_old ON plots (size, name)", 'DROP INDEX "plots_of_old"'),
            ("CREATE INDEX whatever ON plots (kind)", 'DROP INDEX "whatever"'),
            ("ALTER TABLE plots SET UNLOGGED", "SET LOGGED"),
            ("ALTER TABLE plots RENAME name TO title", "RENAME COLUMN title TO name"),
            ("COMMENT ON COLUMN plots.name IS NULL", "IS 'As on the map'"),
            ("DROP TABLE fences", 'CREATE TABLE "fences"'),
            ("ALTER TABLE fences DROP CONSTRAINT fences_plot_id_fkey", "FOREIGN KEY (plot_id)"),
            (CASCADE, "FOREIGN KEY (plot_id)"),
            (
                "ALTER TABLE fences ALTER length DROP NOT NULL; UPDATE fences SET length = NULL",
                "5 rows of fences have no length: it is 0.",
            ),
        ],
    )
    def test_a_difference_is_repaired(self, homestead: str, change: str, repair: str) -> None:
        if "UNLOGGED" in change:
            execute(homestead, "ALTER TABLE fences DROP CONSTRAINT fences_plot_id_fkey")
        before = execute(homestead, "SELECT count(*) FROM plots")
        execute(homestead, change)

        said = adopt(homestead, dry_run=True)[1]
        adopt_the_baselines(homestead)

        assert repair in said
        assert execute(homestead, "SELECT count(*) FROM plots") == before
        execute(homestead, "DELETE FROM django_migrations WHERE app = 'homestead'")
        left = survey(homestead).plan
        assert left is not None
        assert (left.changes(), left.left, left.obstacles) == ((), (), ())

    @pytest.mark.parametrize(
        "change", [CASCADE, "ALTER TABLE plots DROP CONSTRAINT plots_pkey CASCADE"]
    )
    def test_and_the_end_is_clean(self, homestead: str, change: str) -> None:
        execute(homestead, change)

        code, said = adopt(homestead)

        assert code == 0, said
        assert MigrationService(homestead).validate().findings == ()
        assert execute(homestead, "SELECT 1 FROM pg_constraint WHERE NOT convalidated") == []

    def test_what_nobody_knows_is_listed_and_left(self, homestead: str) -> None:
        execute(
            homestead,
            """
            CREATE TABLE "their ""own"" %s" (id int);
            CREATE INDEX theirs ON plots (size, kind);
            ALTER TABLE plots ADD COLUMN colour text DEFAULT 'green', SET (fillfactor = 50);
            """,
        )

        code, said = adopt(homestead)

        assert code == 0
        assert 'Left as they are, tables of others: their "own" %s' in said
        assert "index plots.theirs" in said
        assert "column plots.colour" in said
        assert "storage parameters plots" in said
        assert execute(homestead, "SELECT count(*), min(colour) FROM plots") == [(5, "green")]
        assert execute(homestead, "SELECT to_regclass('theirs') IS NOT NULL") == [(True,)]

    def test_rows_that_later_migrations_allow_are_kept(self, homestead: str) -> None:
        execute(
            homestead,
            "ALTER TABLE plots DROP CONSTRAINT plots_kind_check; "
            "UPDATE plots SET kind = 'POND' WHERE name = 'plot 1'",
        )

        assert adopt(homestead)[0] == 0

        assert execute(homestead, "SELECT kind FROM plots WHERE name = 'plot 1'") == [("POND",)]
        assert execute(homestead, "SELECT 1 FROM pg_constraint WHERE NOT convalidated") == []

    def test_old_rows_get_no_value_of_today(self, homestead: str) -> None:
        execute(homestead, "ALTER TABLE plots DROP COLUMN size")

        adopt_the_baselines(homestead)

        assert execute(homestead, "SELECT DISTINCT size FROM plots") == [(None,)]

    def test_their_records_are_imported(self, homestead: str) -> None:
        execute(
            homestead,
            "CREATE TABLE their_migrations (step int, at timestamptz); "
            "INSERT INTO their_migrations VALUES (1, '2020-01-01Z'), (2, '-infinity')",
        )

        code, said = adopt(homestead)

        assert code == 0
        assert "Imported into the history: 2 rows of their_migrations" in said
        runs = read_runs(homestead, app="their_migrations")
        assert [(run.name, run.outcome) for run in runs] == [
            ("step 2", "imported"),
            ("step 1", "imported"),
        ]
        assert runs[1].started_at.year == 2020

    def test_large_tables_are_not_written_anew(self, homestead: str) -> None:
        execute(homestead, "DROP INDEX plots_size_idx; ALTER TABLE plots DROP COLUMN size")
        files = "SELECT pg_relation_filenode('plots'), pg_relation_filenode('fences')"
        before = execute(homestead, files)

        adopt_the_baselines(homestead)

        assert execute(homestead, files) == before

    def test_a_table_of_another_schema_is_nothing_to_it(self, homestead: str) -> None:
        execute(
            homestead,
            "CREATE SCHEMA attic; CREATE TABLE attic.plots (id int); "
            "CREATE TABLE attic.fences (nothing text); INSERT INTO attic.plots VALUES (7)",
        )

        adopt_the_baselines(homestead)

        assert execute(homestead, "SELECT id FROM attic.plots") == [(7,)]


class TestAgain:
    def test_says_that_it_was_adopted(self, homestead: str) -> None:
        adopt(homestead)
        before = traces(homestead), recorded(homestead)

        code, said = adopt(homestead)

        assert code == 0
        assert "App homestead was adopted on" in said
        assert (traces(homestead), recorded(homestead)) == before

    def test_goes_on_where_one_broke_off(
        self, homestead: str, another: psycopg.Connection[Any], settings: Any
    ) -> None:
        settings.HODEI_SCHEMA_LOCK_TIMEOUT = 0.2
        execute(homestead, "CREATE TABLE barns (id int)")
        plan = survey(homestead).plan
        assert plan is not None
        # Migration 0003 makes that table too, which is seen beforehand; a view is not.
        assert "Table barns is there already" in plan.obstacles[0]
        execute(homestead, "DROP TABLE barns; CREATE TYPE barns AS ENUM ('red')")

        code, said = adopt(homestead)

        assert code == 5
        assert "Migration homestead.0003_acres failed" in said
        assert "homestead.0002_fence" in recorded(homestead)
        execute(homestead, "DROP TYPE barns")
        assert "Migrations that would follow: " in adopt(homestead, dry_run=True)[1]
        code, said = adopt(homestead)
        assert code == 0
        assert said.endswith("Schema valid: 7/7 migrations applied")

    def test_what_migrate_has_made_is_not_adopted(self, scratch: str, install: Install) -> None:
        install("homestead")
        call_command("migrate", database=scratch, verbosity=0)

        code, said = adopt(scratch)

        assert code == 0
        assert "Nothing to adopt: the baselines were applied here by migrate." in said


class TestRefusing:
    @pytest.mark.parametrize(("reason", "change"), REASONS.items())
    def test_leaves_it_untouched_and_says_why(
        self, homestead: str, reason: str, change: str
    ) -> None:
        execute(homestead, change)
        before = traces(homestead)

        code, said = adopt(homestead)

        assert code == 1
        assert "This database cannot be adopted as it is, and nothing was changed:" in said
        assert reason in said
        assert traces(homestead) == before

    def test_the_rows_can_be_looked_at_as_it_says(self, homestead: str) -> None:
        execute(
            homestead,
            "ALTER TABLE plots DROP CONSTRAINT plots_name_key; "
            "UPDATE plots SET name = 'one' WHERE id < 4",
        )
        plan = survey(homestead).plan
        assert plan is not None
        (obstacle,) = plan.obstacles

        rows = execute(homestead, f"SELECT{obstacle.partition(': SELECT')[2]}")

        assert [row[1] for row in rows] == ["one"] * 3

    def test_an_empty_database_is_nothing_to_adopt(self, scratch: str, install: Install) -> None:
        install("homestead")

        code, said = adopt(scratch)

        assert code == 1
        assert "Nothing to adopt: none of the 2 tables of homestead is in schema 'public'" in said
        assert "run migrate" in said

    def test_tables_in_another_schema_are_pointed_out(self, scratch: str, install: Install) -> None:
        install("homestead")
        execute(scratch, 'CREATE SCHEMA "The Attic"; CREATE TABLE "The Attic".plots (id int)')

        assert "Tables of these names are in schema 'The Attic'" in adopt(scratch)[1]

    @pytest.mark.parametrize(
        ("apps", "name", "words"),
        [
            (("ledger",), "0002_fence", "No installed app names a baseline"),
            (("homestead",), "0009_missing", "'0009_missing', and app homestead has no such"),
        ],
    )
    def test_a_baseline_that_is_none_is_misuse(
        self,
        scratch: str,
        install: Install,
        monkeypatch: pytest.MonkeyPatch,
        apps: tuple[str, ...],
        name: str,
        words: str,
    ) -> None:
        monkeypatch.setattr(
            "tests.schema.apps.homestead.apps.HomesteadConfig.schema_baseline", name
        )
        install(*apps)

        code, said = adopt(scratch)

        assert code == 2
        assert words in said

    def test_an_adoption_that_is_none_is_misuse(
        self, homestead: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tests.schema.apps.homestead.adoption.ADOPTION", {"rows": []})

        code, said = adopt(homestead)

        assert code == 2
        assert "tests.schema.apps.homestead.adoption.ADOPTION is {'rows': []}" in said

    def test_an_unknown_database_is_misuse(self) -> None:
        assert adopt("nowhere")[0] == 2


class TestAsking:
    @pytest.fixture
    def answer(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
        def say(text: str) -> None:
            terminal = io.StringIO(f"{text}\n")
            terminal.isatty = lambda: True  # type: ignore[method-assign]
            monkeypatch.setattr(sys, "stdin", terminal)

        return say

    def test_without_a_terminal_needs_an_answer_beforehand(
        self, homestead: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        before = traces(homestead)

        code, said = adopt(homestead, interactive=True)

        assert code == 2
        assert "Give --no-input to do what is shown" in said
        assert traces(homestead) == before

    @pytest.mark.parametrize("text", ["no", "", "y"])
    def test_only_yes_is_yes(
        self, homestead: str, answer: Callable[[str], None], text: str
    ) -> None:
        answer(text)
        before = traces(homestead)

        code, said = adopt(homestead, interactive=True)

        assert code == 1
        assert said.endswith("Nothing was changed.")
        assert traces(homestead) == before

    def test_yes_is_done(self, homestead: str, answer: Callable[[str], None]) -> None:
        answer("yes")

        assert adopt(homestead, interactive=True)[0] == 0
        assert "homestead.0002_fence" in recorded(homestead)


class TestOthersInTheTables:
    def test_name_who_is_in_the_way(
        self, homestead: str, another: psycopg.Connection[Any], settings: Any
    ) -> None:
        settings.HODEI_SCHEMA_LOCK_TIMEOUT = 0.1
        execute(homestead, "DROP INDEX plots_size_idx")
        before = traces(homestead)
        plan = survey(homestead).plan
        another.execute("BEGIN; UPDATE plots SET size = 3 WHERE id = 1")

        with pytest.raises(TablesBusy) as caught:
            service.adopt(homestead, plan, lock_retries=0)

        assert caught.value.exit_code == 4
        assert f"pid {another.info.backend_pid} (somebody else, " in str(caught.value)
        another.execute("ROLLBACK")
        assert [one for one in traces(homestead) if one in before] == before
        assert not {name for name in recorded(homestead) if name.startswith("homestead")}
        (run,) = read_runs(homestead, app="homestead")
        assert (run.event, run.outcome) == ("adopt", "failed")

    def test_a_reader_is_told_of_too(
        self, homestead: str, another: psycopg.Connection[Any], settings: Any
    ) -> None:
        settings.HODEI_SCHEMA_LOCK_TIMEOUT = 0.1
        execute(homestead, "ALTER TABLE plots ALTER size DROP DEFAULT")
        plan = survey(homestead).plan
        another.execute("BEGIN; SELECT * FROM plots")

        with pytest.raises(MigrationBlocked) as caught:
            service.adopt(homestead, plan, lock_retries=0)

        assert caught.value.exit_code == 4
        another.execute("ROLLBACK")

    def test_it_is_tried_again(
        self,
        homestead: str,
        another: psycopg.Connection[Any],
        settings: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        settings.HODEI_SCHEMA_LOCK_TIMEOUT = 0.1
        execute(homestead, "DROP INDEX plots_size_idx")
        plan = survey(homestead).plan
        another.execute("BEGIN; UPDATE plots SET size = 3 WHERE id = 1")
        waits: list[float] = []

        def wait(seconds: float) -> None:
            waits.append(seconds)
            another.execute("COMMIT")

        monkeypatch.setattr("hodei.schema.adoption.transaction.time.sleep", wait)

        assert service.adopt(homestead, plan).is_valid

        assert len(waits) == 1
        outcomes = [run.outcome for run in read_runs(homestead, app="homestead")]
        assert outcomes == ["ok", "ok", "adopted", "adopted", "failed"]


class TestChangedMeanwhile:
    def test_it_is_not_done_but_shown_anew(self, homestead: str) -> None:
        plan = survey(homestead).plan
        execute(homestead, "DROP INDEX plots_size_idx")
        before = traces(homestead)

        with pytest.raises(service.PlanChanged) as caught:
            service.adopt(homestead, plan)

        assert caught.value.exit_code == 1
        assert traces(homestead) == before

    def test_also_at_the_last_moment(
        self, homestead: str, another: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plan = survey(homestead).plan
        carry_out = service.AdoptionTransaction.carry_out

        def late(self: Any, *, retries: int) -> None:
            another.execute("DROP INDEX plots_size_idx")
            carry_out(self, retries=retries)

        monkeypatch.setattr(service.AdoptionTransaction, "carry_out", late)

        with pytest.raises(service.PlanChanged):
            service.adopt(homestead, plan)

        assert not {name for name in recorded(homestead) if name.startswith("homestead")}

    def test_new_rows_are_treated_as_the_old_ones(self, homestead: str) -> None:
        execute(homestead, "ALTER TABLE fences ALTER length DROP NOT NULL")
        plan = survey(homestead).plan
        execute(homestead, "UPDATE fences SET length = NULL WHERE id = 1")

        assert service.adopt(homestead, plan).is_valid

        assert execute(homestead, "SELECT length FROM fences WHERE id = 1") == [(0,)]


class TestFailure:
    def test_of_a_repair_undoes_all(self, homestead: str, monkeypatch: pytest.MonkeyPatch) -> None:
        from tests.schema.apps.homestead.adoption import ADOPTION

        rule = ADOPTION.rows[0]
        broken = type(rule)(
            table=rule.table,
            found=rule.found,
            becomes=rule.becomes,
            where=rule.where,
            statements=("UPDATE fences SET length = 1 / 0 WHERE length IS NULL",),
            covers=rule.covers,
        )
        monkeypatch.setattr(
            "tests.schema.apps.homestead.adoption.ADOPTION", type(ADOPTION)(rows=(broken,))
        )
        execute(
            homestead,
            "ALTER TABLE fences ALTER length DROP NOT NULL; UPDATE fences SET length = NULL; "
            "ALTER TABLE plots DROP COLUMN size",
        )
        plan = survey(homestead).plan

        with pytest.raises(MigrationFailed, match="division by zero") as caught:
            service.adopt(homestead, plan)

        assert caught.value.exit_code == 5
        assert "size" not in {row[1] for row in traces(homestead) if row[0] == "plots"}
        (run,) = read_runs(homestead, app="homestead")
        assert run.outcome == "failed"
        assert "have no length" in str(run.operation)

    def test_a_repair_that_repairs_nothing_is_noticed(
        self, homestead: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        execute(homestead, "ALTER TABLE plots RENAME name TO title")
        shape = __import__(
            "tests.schema.apps.homestead.adoption", fromlist=["ADOPTION"]
        ).ADOPTION.older_shapes[0]
        monkeypatch.setattr(
            type(shape),
            "convert",
            property(lambda _self: lambda table: ((), _renamed(table))),
            raising=False,
        )
        plan = survey(homestead).plan

        with pytest.raises(service.SchemaError) as caught:
            service.adopt(homestead, plan)

        assert caught.value.exit_code == 5
        assert "title" in {row[1] for row in traces(homestead) if row[0] == "plots"}


def _renamed(table: Relation) -> Relation:
    from tests.schema.apps.homestead.adoption import name_them

    return name_them(table)[1]


OWNED = """
GRANT CREATE ON DATABASE {database} TO {role};
ALTER TABLE plots OWNER TO {role}; ALTER TABLE fences OWNER TO {role}
"""


class TestRights:
    @pytest.mark.parametrize(
        ("grant", "words"),
        [
            ("", "it needs CREATE on the database"),
            ("GRANT CREATE ON DATABASE {database} TO {role}", "does not own fences, plots"),
            (OWNED, "may not make tables in schema 'public'"),
        ],
    )
    def test_a_role_without_them_is_told(
        self,
        homestead: str,
        database: dict[str, Any],
        point_alias: Callable[..., str],
        grant: str,
        words: str,
    ) -> None:
        role = f"{database['NAME']}_reader"
        execute(
            homestead,
            f"CREATE ROLE {role} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}",
        )
        if grant:
            execute(homestead, grant.format(database=database["NAME"], role=role))
        before = traces(homestead)
        try:
            code, said = adopt(point_alias(database, OPTIONS={"assume_role": role}))
        finally:
            point_alias(database)
            execute(
                homestead,
                f"REASSIGN OWNED BY {role} TO CURRENT_USER; DROP OWNED BY {role}; DROP ROLE {role}",
            )

        assert code == 3
        assert words in said
        assert traces(homestead) == before


class TestShapes:
    """Pure: what a table of a baseline can have become."""

    @pytest.mark.parametrize(
        ("expected", "actual", "fits"),
        [
            ("character varying(20)", "character varying(10)", True),
            ("character varying(10)", "character varying(20)", False),
            ("character varying(10)", "text", False),
            ("text", "character varying(20)", True),
            ("text", "character varying", True),
            ("text", "integer", False),
            ("bigint", "integer", False),
            ("jsonb", "json", False),
        ],
    )
    def test_only_text_that_grows_fits(self, expected: str, actual: str, fits: bool) -> None:
        assert is_wider(expected, actual) is fits

    @pytest.mark.parametrize(
        ("column", "fits"),
        [
            (Column(name="new", type="integer", nullable=True), True),
            (Column(name="new", type="integer", nullable=False), False),
            (Column(name="new", type="integer", nullable=False, default="0"), True),
            (Column(name="new", type="text", nullable=False, default="'a'::text"), True),
            (Column(name="new", type="uuid", nullable=False, default="gen_random_uuid()"), False),
            (Column(name="new", type="uuid", nullable=True, default="gen_random_uuid()"), True),
            (Column(name="new", type="bigint", nullable=False, identity="ALWAYS"), False),
        ],
    )
    def test_a_column_is_added_where_nothing_is_made_up(self, column: Column, fits: bool) -> None:
        key = Constraint(name="t_pkey", type="p", definition="PRIMARY KEY (id)", columns=("id",))
        here = Relation(
            name="t",
            kind="table",
            columns=(Column(name="id", type="bigint", nullable=False),),
            constraints=(key,),
        )
        wanted = Relation(
            name="t", kind="table", columns=(*here.columns, column), constraints=(key,)
        )

        assert (reasons(wanted, here) == []) is fits


def forks(*words: str, lines: list[str], database: dict[str, Any]) -> list[Any]:
    return run_forks(*words, "adopt", apps=("homestead",), lines=lines, database=database)


@pytest.mark.process
class TestProcesses:
    @pytest.fixture
    def originals(self, django_db_blocker: Any) -> Iterator[Originals]:
        """A function that makes so many databases of the other program, not as they should be."""
        with django_db_blocker.unblock(), ExitStack() as stack:

            def make(number: int) -> list[dict[str, Any]]:
                made = [stack.enter_context(new_database()) for _ in range(number)]
                for database in made:
                    with session(database) as connection:
                        connection.execute(PLOTS + FENCES)
                        connection.execute(
                            "DROP INDEX plots_size_idx; ALTER TABLE plots DROP COLUMN size; "
                            "ALTER TABLE fences ALTER length DROP NOT NULL; "
                            "INSERT INTO fences (plot_id) SELECT id FROM plots; "
                            "CREATE TABLE their_migrations (step int, at timestamptz); "
                            "INSERT INTO their_migrations VALUES (1, now())"
                        )
                return made

            yield make

    def check(self, database: dict[str, Any], *, interrupted: int) -> None:
        with session(database) as connection:
            records = connection.execute("SELECT app, name FROM django_migrations").fetchall()
            assert len(records) == len(set(records))
            assert {("homestead", "0002_fence"), ("homestead", "0004_index")} <= set(records)
            runs = connection.execute(
                "SELECT event, app, name, success, error FROM schema_migration_runs ORDER BY id"
            ).fetchall()
            done = [run[:3] for run in runs if run[3]]
            assert len(done) == len(set(done))
            assert ("adopt", "homestead", "0002_fence") in done
            assert ("import", "their_migrations", "step 1") in done
            unfinished = [run for run in runs if not run[3]]
            assert len(unfinished) <= interrupted, unfinished
            assert {run[4] for run in unfinished} <= {INTERRUPTED}
            counts = connection.execute(
                "SELECT (SELECT count(*) FROM plots), (SELECT count(*) FROM fences), "
                "(SELECT count(*) FROM fences WHERE length = 0), "
                "(SELECT count(*) FROM pg_constraint WHERE NOT convalidated), "
                "(SELECT count(*) FROM pg_index WHERE NOT indisvalid)"
            ).fetchone()
            assert counts == (5, 10, 5, 0, 0)

    def crash(self, originals: Originals, choose: Callable[[int], list[int]]) -> None:
        (model,) = originals(1)
        (undisturbed,) = forks("crash", lines=[f"{model['NAME']} -1"], database=model)
        assert undisturbed["killed"]["code"] == 0, undisturbed
        self.check(model, interrupted=0)
        points = choose(int(undisturbed["killed"]["said"].split()[-1]))
        made = originals(len(points))
        lines = [f"{one['NAME']} {point}" for one, point in zip(made, points, strict=True)]
        ends = forks("crash", lines=lines, database=model)
        for database, point, end in zip(made, points, ends, strict=True):
            killed = end["killed"]
            assert killed["code"] == KILLED or int(killed["said"].split()[-1]) <= point, end
            assert end["after"]["code"] == 0, (point, end["after"]["said"])
            self.check(database, interrupted=1)

    def test_killed_at_some_points_it_goes_on(self, originals: Originals) -> None:
        self.crash(originals, lambda count: random.Random(3).sample(range(count), 6))

    @pytest.mark.slow
    @pytest.mark.timeout(3000)
    def test_killed_at_every_point_it_goes_on(self, originals: Originals) -> None:
        self.crash(originals, lambda count: list(range(count)))

    def test_three_at_once_adopt_once(self, originals: Originals) -> None:
        (database,) = originals(1)

        (ends,) = forks("together", "3", lines=[database["NAME"]], database=database)

        assert [end["code"] for end in ends] == [0, 0, 0], ends
        self.check(database, interrupted=0)

    def test_the_help_says_what_it_does(self, manage: Run) -> None:
        done = manage("schema_adopt", "--help")

        said = " ".join(done.stdout.split())
        assert "Take over a database whose tables another program" in said
        assert "No row is lost." in said
        for option in ("--dry-run", "--no-input", "--database ALIAS"):
            assert option in said

    def test_an_error_is_one_line(self, manage: Run) -> None:
        done = manage("schema_adopt", "--no-input", apps=("homestead",))

        assert done.returncode == 1
        assert done.stderr.startswith("CommandError: Nothing to adopt: none of the 2 tables")
        assert len(done.stderr.splitlines()) == 1
