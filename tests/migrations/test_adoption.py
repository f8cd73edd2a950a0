"""The original's databases, in every form that one may be in, adopted without losing a row."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Any

import pytest
from django.core.management import call_command

from hodei.schema.adoption.service import adopt as adopt_all
from hodei.schema.adoption.service import adopt_baselines
from hodei.schema.adoption.survey import survey
from hodei.schema.drift.canonical import canonical
from hodei.schema.history import read_runs
from hodei.schema.results import Severity
from hodei.schema.run.start import migration_run
from tests.databases import Migrated, alias_of, new_database
from tests.migrations import catalog, older
from tests.migrations.original import build, fill, rows_of, tables

Rows = dict[str, dict[str, dict[str, Any]]]

#: Older forms that can be in one database together.
TOGETHER = (
    (
        older.log_files_v1,
        older.dead_letters_without_saga,
        older.cascading_queue,
        older.outbox_of_a_flat_file,
        older.reconciliation_indexes,
        older.sagas_of_a_flat_file,
        older.no_token_table,
        older.events_table,
        older.both_sqlx_tables,
    ),
    (
        older.log_files_half_converted,
        older.log_files_without_jobs,
        older.made_at_start_up,
        older.queue_without_jobs,
        older.outbox_at_start_up,
        older.steps_without_sagas,
        older.tokens_of_january,
    ),
)
#: What these are made of is among them.
COMPOSED = {older.as_the_contract, older.log_files_converted, older.all_eight_by_name}
#: The others go through it together, and by themselves where there is time.
ALONE = [
    change if change in COMPOSED else pytest.param(change, marks=pytest.mark.slow)
    for change in older.OLDER
]


@pytest.fixture(scope="session")
def original_template(django_db_setup: None, django_db_blocker: Any) -> Iterator[str]:
    """A database of the contract, with 20 rows of every kind."""
    with django_db_blocker.unblock(), new_database() as database:
        with alias_of(database) as alias:
            build(Migrated(alias))
            fill(Migrated(alias), 20)
        yield database["NAME"]


@pytest.fixture
def original(copy_of: Any, original_template: str) -> Migrated:
    return copy_of(original_template)


def adopt(database: Migrated, **options: Any) -> str:
    out = io.StringIO()
    call_command(
        "schema_adopt",
        database=database.alias,
        interactive=False,
        stdout=out,
        stderr=out,
        **options,
    )
    return out.getvalue()


def adopt_the_baselines(database: Migrated) -> None:
    """The transaction of an adoption alone: nothing runs before or after it."""
    with migration_run(database.alias, command="test") as run:
        found = survey(database.alias)
        adopt_baselines(database.alias, run, found, found.plan, retries=0)


def as_contract(database: Migrated) -> dict[str, Any]:
    """The catalog without what adopting leaves to the end (proofs) or alone (order, additions)."""
    found = catalog.read(database)
    contract = catalog.contract()
    shaped = {}
    for table, facts in contract.items():
        there = found[table]
        names = {column["name"] for column in facts["columns"]}
        for constraint in there["constraints"]:
            constraint["definition"] = constraint["definition"].removesuffix(" NOT VALID")
            constraint["validated"] = True
        # What has been written anew is printed with its casts and brackets in other places.
        for one in (
            *there["constraints"],
            *facts["constraints"],
            *there["indexes"],
            *facts["indexes"],
        ):
            text = one["definition"].replace("(", " ").replace(")", " ")
            one["definition"] = canonical(text)
        there["columns"] = [column for column in there["columns"] if column["name"] in names]
        there["indexes"] = [one for one in there["indexes"] if one["name"] != "idx_tokens_resource"]
        for one in (facts, there):
            one["columns"].sort(key=lambda column: str(column["name"]))
        shaped[table] = there
    return {"here": shaped, "contract": contract}


def log_uris(database: Migrated) -> list[str]:
    """Every log file that can be reached: the row of a job, and what is kept beside it."""
    return [
        uri
        for (uri,) in database.rows(
            "SELECT storage_uri FROM job_log_files UNION ALL SELECT kept ->> 'storage_uri' "
            "FROM jobs, jsonb_array_elements(metadata -> '_repaired' -> 'log_files') kept ORDER BY 1"
        )
    ]


def check_rows(before: Rows, after: Rows, *, repaired: set[str]) -> None:
    """Each row is there, and is what it was but for the columns that a rule repairs."""
    for primary in before["job_queue"].keys() - after["job_queue"].keys():
        # The place of a job that does not wait is kept in the job.
        job = after["jobs"][before["job_queue"].pop(primary)["job_id"]]
        assert job["metadata"]["_repaired"]["queue_entry"]
    for table, rows in before.items():
        assert rows.keys() <= after[table].keys(), table
        for primary, row in rows.items():
            now = after[table][primary]
            changed = {name for name, value in row.items() if now[name] != value}
            assert {f"{table}.{name}" for name in changed} <= repaired, (table, row, now)


class TestEachOlderForm:
    @pytest.mark.parametrize("changes", TOGETHER, ids=["oldest", "start-up"])
    def test_becomes_the_baseline_exactly(
        self, original: Migrated, changes: tuple[older.Older, ...]
    ) -> None:
        for change in changes:
            change(original)
        check_becomes_the_baseline(original)

    @pytest.mark.parametrize("changes", TOGETHER, ids=["oldest", "start-up"])
    def test_is_adopted_to_head_with_every_row(
        self, original: Migrated, changes: tuple[older.Older, ...]
    ) -> None:
        for change in changes:
            change(original)
        check_adopted_with_every_row(original)

    def test_is_among_those_that_are_together(self) -> None:
        tested = {change for changes in TOGETHER for change in changes}

        assert tested | COMPOSED == set(older.OLDER)

    @pytest.mark.parametrize("change", ALONE, ids=lambda change: change.__name__)
    def test_becomes_the_baseline_exactly_by_itself(
        self, original: Migrated, change: older.Older
    ) -> None:
        change(original)
        check_becomes_the_baseline(original)

    @pytest.mark.slow
    @pytest.mark.parametrize("change", older.OLDER, ids=lambda change: change.__name__)
    def test_is_adopted_to_head_by_itself(self, original: Migrated, change: older.Older) -> None:
        change(original)
        check_adopted_with_every_row(original)


def check_becomes_the_baseline(database: Migrated) -> None:
    adopt_the_baselines(database)

    found = as_contract(database)
    assert found["here"] == found["contract"]


def check_adopted_with_every_row(database: Migrated) -> None:
    before = rows_of(database)
    # In their old columns log files have no key: they are looked at by what they say.
    log_files = before.pop("job_log_files")
    number = len(log_files)

    found = survey(database.alias)
    validation = adopt_all(database.alias, found.plan)

    assert validation.is_valid
    assert {one.severity for one in validation.findings} <= {Severity.WARNING}
    check_rows(
        before,
        rows_of(database),
        repaired={
            "jobs.metadata",
            "sagas.metadata",
            "saga_audit_events.occurred_at",
            "worker_bootstrap_tokens.created_at",
            "outbox_dlq.moved_at",
        },
    )
    assert len(log_uris(database)) == number
    assert all(uri.startswith(("file:", "s3:")) for uri in log_uris(database))


class TestAThousandRowsOfEveryKind:
    def test_are_there_at_head_unchanged(self, empty: Migrated) -> None:
        build(empty)
        fill(empty, 1000)
        before = rows_of(empty)
        assert min(len(rows) for rows in before.values()) >= 1000

        said = adopt(empty)

        check_rows(before, rows_of(empty), repaired=set())
        assert "Schema valid: " in said.splitlines()[-1]
        assert empty.value("SELECT count(*) FROM pg_constraint WHERE NOT convalidated") == 0


class TestLogFiles:
    @pytest.fixture(scope="class")
    @classmethod
    def adopted(cls, original_template: str, django_db_blocker: Any) -> Iterator[Migrated]:
        """A database with those of v1, which everybody may read, at the baseline."""
        with (
            django_db_blocker.unblock(),
            new_database(original_template) as database,
            alias_of(database, "log_files") as alias,
        ):
            original = Migrated(alias)
            older.log_files_v1(original)
            original.execute("GRANT SELECT ON job_log_files TO PUBLIC")
            adopt_the_baselines(original)
            yield original

    def test_of_v1_become_rows_of_jobs_with_uris(self, adopted: Migrated) -> None:
        expected = [
            *older.PATHS.values(),
            "file:///logs/later.log",
            "file:///logs/old%20one.log",
        ]
        assert log_uris(adopted) == sorted(expected, key=str.encode)
        for path, uri in older.PATHS.items():
            if path.startswith("/"):
                assert PurePosixPath(path).as_uri() == uri

    def test_the_newest_is_the_row_and_the_others_are_beside_it(self, adopted: Migrated) -> None:
        first = "00000002-0000-4000-8000-000000000001"
        assert adopted.rows(
            "SELECT storage_uri, expires_at = '2026-01-01Z' FROM job_log_files WHERE job_id = %s",
            [first],
        ) == [("file:///logs/later.log", True)]
        kept = adopted.value(
            "SELECT metadata -> '_repaired' -> 'log_files' FROM jobs WHERE id = %s", [first]
        )
        assert [one["storage_uri"] for one in kept] == [
            "file:///var/log/hodei/1.log",
            "file:///logs/old%20one.log",
        ]
        assert kept[0]["created_at"].startswith("2026-01-01T00:00:00")

    def test_without_an_expiry_live_a_week_from_their_creation(self, adopted: Migrated) -> None:
        assert adopted.rows(
            "SELECT DISTINCT expires_at - created_at FROM job_log_files "
            "WHERE storage_uri <> 'file:///logs/later.log'"
        ) == [(timedelta(hours=168),)]

    def test_keep_who_may_read_them(self, adopted: Migrated) -> None:
        assert adopted.value("SELECT relacl::text FROM pg_class WHERE relname = 'job_log_files'")


class TestOrphans:
    def test_get_a_job_that_nothing_runs(self, original: Migrated) -> None:
        older.queue_without_jobs(original)
        older.log_files_without_jobs(original)

        adopt_the_baselines(original)

        assert original.rows(
            "SELECT state, attempts, max_attempts, metadata FROM jobs "
            "WHERE metadata -> '_repaired' ? 'stub'"
        ) == [("CANCELLED", 0, 0, {"_repaired": {"stub": True}})]
        assert "file:///logs/orphan.log" in log_uris(original)

    def test_steps_get_a_saga(self, original: Migrated) -> None:
        older.steps_without_sagas(original)

        adopt_the_baselines(original)

        assert original.rows(
            "SELECT DISTINCT state FROM sagas WHERE metadata -> '_repaired' ? 'stub'"
        ) == [("CANCELLED",)]
        assert original.value("SELECT count(*) FROM saga_steps") == 21


class TestSqlx:
    def test_its_rows_are_in_the_history_once(self, original: Migrated) -> None:
        older.both_sqlx_tables(original)

        for _ in range(2):
            adopt_the_baselines(original)
            original.execute("TRUNCATE django_migrations")

        runs = [run for run in read_runs(original.alias) if run.event == "import"]
        told = {run.name: run for run in runs}
        assert len(runs) == 5
        assert {run.app for run in runs} == {"_sqlx_migrations", "__sqlx_migrations"}
        first = told["20241221000000_init_schema"]
        assert (first.outcome, first.duration_ms) == ("imported", 123)
        assert first.checksum == f"sha384:{bytes(range(48)).hex()}"
        assert first.started_at.isoformat() == "2025-12-30T10:00:00+00:00"
        assert first.database_user == ""
        assert told["20241223150400_outbox_pattern"].duration_ms is None
        assert told["20251228120000_outbox_dlq"].outcome == "failed"
        assert told["20260114000000_initial"].duration_ms == 12
        assert told["20260115000000"].success

    def test_a_layout_that_is_not_known_is_left(self, original: Migrated) -> None:
        original.execute("CREATE TABLE _sqlx_migrations (version text)")

        assert "table _sqlx_migrations, whose layout is not known" in adopt(original, dry_run=True)
        adopt_the_baselines(original)

        assert not [run for run in read_runs(original.alias) if run.event == "import"]


class TestWhatIsNotOurs:
    def test_is_listed_and_left(self, original: Migrated) -> None:
        older.events_table(original)
        older.tokens_of_january(original)
        original.execute("CREATE INDEX of_a_person ON jobs (error_message)")

        said = adopt(original, dry_run=True)
        adopt_the_baselines(original)

        assert "Left as they are, tables of others: domain_events" in said
        assert "index jobs.of_a_person" in said
        assert original.value("SELECT count(*) FROM domain_events") == 1
        assert original.value("SELECT to_regclass('of_a_person') IS NOT NULL")
        assert original.value("SELECT to_regclass('idx_tokens_resource') IS NOT NULL")
        assert original.value("SELECT to_regclass('idx_tokens_worker') IS NULL")

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ("CREATE TABLE jobs (id serial PRIMARY KEY, title text)", "it lacks spec (jsonb)"),
            ("CREATE VIEW jobs AS SELECT 1 AS id", "it is a view and not a table"),
        ],
    )
    def test_a_jobs_table_of_another_program_stops_it(
        self, original: Migrated, change: str, reason: str, capsys: Any
    ) -> None:
        original.execute("DROP TABLE job_queue, job_log_files; ALTER TABLE jobs RENAME TO theirs")
        original.execute(change)
        before = tables(original), catalog.read(original)

        with pytest.raises(SystemExit) as caught:
            call_command("schema_adopt", database=original.alias, interactive=False)

        assert caught.value.code == 1
        said = " ".join(capsys.readouterr().err.split())
        assert "Table jobs is not one that jobs.0001_baseline makes" in said
        assert reason in said
        assert (tables(original), catalog.read(original)) == before

    def test_rows_that_no_release_allows_stop_it(self, original: Migrated, capsys: Any) -> None:
        older.made_at_start_up(original)
        original.execute("UPDATE jobs SET state = 'WHATEVER' WHERE state = 'FAILED'")

        with pytest.raises(SystemExit):
            call_command("schema_adopt", database=original.alias, interactive=False)

        said = " ".join(capsys.readouterr().err.split())
        number = original.value("SELECT count(*) FROM jobs WHERE state = 'WHATEVER'")
        assert f"{number} rows of jobs break jobs_state_check" in said
        assert 'SELECT * FROM "jobs" WHERE NOT' in said
        assert "django_migrations" not in tables(original)
