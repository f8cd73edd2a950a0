"""The way back: to the original's catalog, refusing or keeping what only head can hold."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from hodei.schema.operations import RowsAtStake
from tests.databases import Migrated, alias_of, new_database
from tests.migrations import catalog
from tests.migrations.original_rows import (
    LATER,
    NOW,
    dead_letter,
    event,
    job,
    provider,
    saga,
    step,
    worker,
)

pytestmark = pytest.mark.no_cover

CONTRACT = catalog.contract()
#: What is neither of Django's apps nor the history's, both of which stay.
LEFT_OVER = """
SELECT relkind::text || ' ' || relname FROM pg_class
 WHERE relnamespace = 'public'::regnamespace AND relname !~ '^(auth_|django_|schema_migration_runs)'
UNION ALL SELECT 'function ' || proname FROM pg_proc
 WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT 'type ' || typname FROM pg_type
 WHERE typnamespace = 'public'::regnamespace AND typname !~ '^_?(auth_|django_|schema_migration_runs)'
"""


def of_contract(database: Migrated) -> dict[str, Any]:
    found = catalog.read(database)
    return {table: found[table] for table in CONTRACT}


def fill(head: Migrated) -> dict[str, uuid.UUID]:
    """Rows of every kind that the baseline holds too, in their original terms."""
    keys = {"provider": provider(head), "job": job(head, state="PENDING")}
    keys["worker"] = worker(head, current_job_id=keys["job"], state="BUSY")
    head.insert("job_queue", job_id=keys["job"])
    head.insert("job_log_files", job_id=keys["job"], storage_uri="file:///a", expires_at=LATER)
    head.insert("audit_logs", id=uuid.uuid4(), event_type="JobCreated", payload={}, occurred_at=NOW)
    head.insert("worker_bootstrap_tokens", worker_id=uuid.uuid4(), expires_at=LATER)
    keys["event"] = event(head)
    keys["dead letter"] = dead_letter(head)
    keys["saga"] = saga(head, state="COMPLETED")
    keys["step"] = step(head, keys["saga"], state="COMPLETED")
    head.insert("saga_audit_events", saga_id=keys["saga"], event_type="Started")
    return keys


def fill_with_what_head_alone_allows(head: Migrated) -> dict[str, uuid.UUID]:
    keys = {
        "timed out": job(head, state="TIMEOUT"),
        "held": job(head, state="MANUAL_INTERVENTION_REQUIRED"),
        "due later": job(head, state="PENDING", run_after="infinity"),
        "disabled": provider(head, status="DISABLED"),
        "custom": provider(head, provider_type="custom:forge"),
        "order": event(head, aggregate_type="ORDER"),
        "dead order": dead_letter(head, aggregate_type="ORDER"),
        "cleanup": saga(head, saga_type="CLEANUP"),
        "skipping": saga(head, saga_type="RECOVERY"),
    }
    keys["draining"] = worker(head, state="DRAINING", provider_id=keys["custom"])
    keys["log of timed out"] = uuid.uuid4()
    head.insert(
        "job_log_files",
        id=keys["log of timed out"],
        job_id=keys["timed out"],
        storage_uri="file:///b",
        expires_at=LATER,
    )
    head.insert("job_queue_deferred", job_id=keys["due later"], run_after=LATER)
    keys["skipped"] = step(head, keys["skipping"], state="SKIPPED")
    head.insert(
        "saga_step_attempts",
        step_id=keys["skipped"],
        direction="FORWARD",
        number=1,
        lease_epoch=1,
    )
    head.insert("outbox_dlq_actions", dlq_id=keys["dead order"], action="DIED")
    return keys


def moved(database: Migrated, table: str) -> set[str]:
    return {row["id"] for (row,) in database.rows(f"SELECT row_data FROM {table}_head_rows")}


class Returned(NamedTuple):
    """A database that was at head and is at the baseline, and what it held there."""

    database: Migrated
    keys: dict[str, uuid.UUID]
    #: A saga of which there is nothing but its audit, and a dead letter that somebody dealt with.
    gone: uuid.UUID
    letter: uuid.UUID


@pytest.fixture(scope="module")
def returned(head_template: str, django_db_blocker: Any) -> Iterator[Returned]:
    """For tests that read it, or copy it."""
    with (
        django_db_blocker.unblock(),
        new_database(head_template) as database,
        alias_of(database, "returned") as alias,
    ):
        head = Migrated(alias)
        found = Returned(head, fill(head), gone=uuid.uuid4(), letter=dead_letter(head))
        head.insert("saga_audit_events", saga_id=found.gone, event_type="Finished")
        head.insert("outbox_dlq_actions", dlq_id=found.letter, action="RESOLVED", actor="ana")
        head.to_baseline()
        yield found


@pytest.fixture
def copy_of_returned(returned: Returned, copy_of: Any) -> Migrated:
    connection = returned.database.connection
    connection.close()  # nobody may be in what is copied
    return copy_of(connection.settings_dict["NAME"])


class TestToTheBaseline:
    def test_the_catalog_is_the_contract_again(self, returned: Returned) -> None:
        database = returned.database

        assert of_contract(database) == CONTRACT
        job = returned.keys["job"]
        assert database.value("SELECT count(*) FROM jobs WHERE id = %s", [job]) == 1
        for table in CONTRACT:
            assert database.value(f"SELECT count(*) FROM {table}") >= 1, table

    def test_up_again_and_down_again_ends_the_same(self, copy_of_returned: Migrated) -> None:
        copy_of_returned.to_head()
        copy_of_returned.to_baseline()

        assert of_contract(copy_of_returned) == CONTRACT

    def test_the_audit_of_a_saga_that_is_gone_is_kept(self, returned: Returned) -> None:
        database = returned.database

        assert database.rows("SELECT saga_id FROM saga_audit_events") == [(returned.keys["saga"],)]
        ((row, reason),) = database.rows("SELECT row_data, reason FROM saga_audit_events_head_rows")
        assert (row["saga_id"], row["event_type"]) == (str(returned.gone), "Finished")
        assert reason == "its saga is gone"

    def test_who_dealt_with_a_dead_letter_is_kept(self, returned: Returned) -> None:
        ((row,),) = returned.database.rows("SELECT row_data FROM outbox_dlq_actions_head_rows")

        assert (row["dlq_id"], row["actor"]) == (str(returned.letter), "ana")


class TestRowsThatOnlyHeadAllows:
    @pytest.mark.parametrize(
        ("app", "counts"),
        [
            (
                "jobs",
                {
                    ("jobs", "states that only head knows", 2),
                    ("jobs", "due later, which the baseline cannot say", 1),
                    ("workers", "states that only head knows", 1),
                    ("provider_configs", "statuses that only head knows", 1),
                    ("provider_configs", "provider types that only head knows", 1),
                },
            ),
            (
                "outbox",
                {
                    ("outbox_events", "aggregate types that only head knows", 1),
                    ("outbox_dlq", "aggregate types that only head knows", 1),
                },
            ),
            (
                "sagas",
                {
                    ("sagas", "kinds that only head knows", 1),
                    ("sagas", "steps in states that only head knows", 1),
                },
            ),
        ],
    )
    def test_the_way_back_refuses_before_anything_is_touched(
        self, head: Migrated, app: str, counts: set[tuple[str, str, int]]
    ) -> None:
        fill_with_what_head_alone_allows(head)
        before = catalog.read(head)
        applied = head.rows("SELECT app, name FROM django_migrations ORDER BY id")

        with pytest.raises(RowsAtStake) as caught:
            head.migrate(app, "0001_baseline")

        assert set(caught.value.counts) == counts
        assert catalog.read(head) == before
        assert head.rows("SELECT app, name FROM django_migrations ORDER BY id") == applied

    def test_the_refusal_says_what_to_do(self, head: Migrated) -> None:
        event(head, aggregate_type="ORDER")

        with pytest.raises(RowsAtStake) as caught:
            head.migrate("outbox", "0001_baseline")

        assert str(caught.value).splitlines() == [
            "The older schema cannot hold these rows, and nothing was changed:",
            "  outbox_events: 1 (aggregate types that only head knows)",
            (
                "Remove them, or allow the loss: then they are moved, with what depends on them, "
                "into tables named <table>_head_rows. Of schema_rollback that is the option "
                "--allow-data-loss, of migrate the setting HODEI_ALLOW_DATA_LOSS=1."
            ),
        ]

    def test_where_it_is_allowed_they_are_moved_with_what_depends_on_them(
        self, head: Migrated, settings: Any
    ) -> None:
        settings.HODEI_ALLOW_DATA_LOSS = True
        kept = fill(head)
        keys = {name: str(key) for name, key in fill_with_what_head_alone_allows(head).items()}

        head.to_baseline()

        assert of_contract(head) == CONTRACT
        assert moved(head, "jobs") == {keys["timed out"], keys["held"], keys["due later"]}
        assert moved(head, "job_log_files") == {keys["log of timed out"]}
        assert moved(head, "workers") == {keys["draining"]}
        assert moved(head, "provider_configs") == {keys["disabled"], keys["custom"]}
        assert moved(head, "outbox_events") == {keys["order"]}
        assert moved(head, "outbox_dlq") == {keys["dead order"]}
        assert moved(head, "sagas") == {keys["cleanup"], keys["skipping"]}
        assert moved(head, "saga_steps") == {keys["skipped"]}
        assert head.value("SELECT count(*) FROM saga_step_attempts_head_rows") == 1
        assert head.rows("SELECT id FROM jobs") == [(kept["job"],)]

    def test_a_plan_in_sql_refuses_nothing(self, head: Migrated, capsys: Any) -> None:
        from django.core.management import call_command

        event(head, aggregate_type="ORDER")

        call_command("sqlmigrate", "outbox", "0022_way_back", backwards=True, database=head.alias)

        assert "INSERT" not in capsys.readouterr().out
        assert head.value("SELECT count(*) FROM outbox_events") == 1


class TestToZero:
    def test_head_to_zero_leaves_nothing_but_archives(self, copy_of_returned: Migrated) -> None:
        for app in ("sagas", "jobs", "outbox"):
            copy_of_returned.migrate(app, "zero")

        left = copy_of_returned.rows(LEFT_OVER)
        assert {what for (what,) in left} == {
            f"{kind}{table}_head_rows"
            for table in ("outbox_dlq_actions", "saga_audit_events")
            for kind in ("r ", "type ", "type _")
        }
