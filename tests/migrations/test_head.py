"""What must hold of head as a whole: agreement of models, states and database."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import IntegrityError, connections
from django.db.migrations.loader import MigrationLoader

from hodei.columns import choices
from jobs import models as jobs_models
from jobs import states as jobs_states
from outbox import models as outbox_models
from outbox import states as outbox_states
from sagas import models as sagas_models
from sagas import states as sagas_states
from tests.databases import Migrated, alias_of, new_database
from tests.migrations import catalog
from tests.migrations.original_rows import NOW, job

APPS = ("outbox", "jobs", "sagas")
TABLES = sorted(
    model._meta.db_table for app in APPS for model in apps.get_app_config(app).get_models()
)

#: (table, column, field, enum, transition table or None, final states or None)
LISTS: list[tuple[str, str, Any, type[StrEnum], Any]] = [
    ("jobs", "state", jobs_models.Job, jobs_states.JobState, jobs_states.JOB_TRANSITIONS),
    (
        "workers",
        "state",
        jobs_models.Worker,
        jobs_states.WorkerState,
        jobs_states.WORKER_TRANSITIONS,
    ),
    (
        "provider_configs",
        "status",
        jobs_models.Provider,
        jobs_states.ProviderStatus,
        jobs_states.PROVIDER_TRANSITIONS,
    ),
    (
        "outbox_events",
        "status",
        outbox_models.Event,
        outbox_states.EventStatus,
        outbox_states.EVENT_TRANSITIONS,
    ),
    (
        "outbox_keys",
        "state",
        outbox_models.TroubledKey,
        outbox_states.KeyState,
        outbox_states.KEY_TRANSITIONS,
    ),
    (
        "outbox_dlq_actions",
        "action",
        outbox_models.DeadLetterActionRecord,
        outbox_states.DeadLetterAction,
        None,
    ),
    ("sagas", "state", sagas_models.Saga, sagas_states.SagaState, sagas_states.SAGA_TRANSITIONS),
    ("sagas", "outcome", sagas_models.Saga, sagas_states.SagaOutcome, sagas_states.OUTCOME_STATES),
    (
        "saga_steps",
        "state",
        sagas_models.SagaStep,
        sagas_states.StepState,
        sagas_states.STEP_TRANSITIONS,
    ),
    (
        "saga_step_attempts",
        "direction",
        sagas_models.SagaStepAttempt,
        sagas_states.Direction,
        None,
    ),
]


@pytest.mark.parametrize(("table", "column", "model", "enum", "transitions"), LISTS)
def test_each_list_of_states_is_one(
    shared_head: Migrated,
    table: str,
    column: str,
    model: Any,
    enum: type[StrEnum],
    transitions: Any,
) -> None:
    definition = shared_head.value(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = %s",
        [f"{table}_{column}_check"],
    )

    assert re.findall(r"'(\w+)'::", definition) == [state.value for state in enum]
    assert model._meta.get_field(column).choices == choices(enum)
    if transitions is not None:
        assert set(transitions) == set(enum)


@pytest.mark.parametrize(
    ("transitions", "final"),
    [
        (jobs_states.JOB_TRANSITIONS, {"SUCCEEDED", "CANCELLED"}),
        (jobs_states.WORKER_TRANSITIONS, {"TERMINATED"}),
        (jobs_states.PROVIDER_TRANSITIONS, set()),
        (outbox_states.EVENT_TRANSITIONS, {"PUBLISHED"}),
        (outbox_states.DEAD_LETTER_TRANSITIONS, {"RESENT"}),
        (sagas_states.SAGA_TRANSITIONS, {"COMPLETED", "CANCELLED"}),
        (sagas_states.STEP_TRANSITIONS, {"COMPENSATED"}),
    ],
)
def test_every_state_has_its_ways_out_and_none_leads_to_itself(
    transitions: Any, final: set[str]
) -> None:
    assert {state for state, targets in transitions.items() if not targets} == final
    for state, targets in transitions.items():
        assert state not in targets
        assert targets <= set(transitions)


@pytest.mark.parametrize("table", ["workers", "provider_configs"])
def test_the_provider_types_of_the_database_are_those_of_the_code(
    shared_head: Migrated, table: str
) -> None:
    definition = shared_head.value(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = %s",
        [f"{table}_provider_type_check"],
    )

    listed, pattern = definition.split(" OR ")
    assert re.findall(r"'(\w+)'", listed) == list(jobs_states.ProviderType)
    assert jobs_states.CUSTOM_PROVIDER_TYPE in pattern


@pytest.mark.django_db
def test_the_models_and_the_migrations_agree() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def test_the_models_build_the_same_database_as_the_migrations(
    shared_head: Migrated, django_db_blocker: Any
) -> None:
    """What migrations do in SQL behind Django's back is what the models say."""

    def known_to_models(facts: dict[str, Any]) -> dict[str, Any]:
        return {
            "comment": facts["comment"],
            "columns": sorted(facts["columns"], key=lambda column: column["name"]),
            "constraints": [
                constraint
                for constraint in facts["constraints"]
                if not constraint["definition"].startswith("FOREIGN KEY")
            ],
            "indexes": facts["indexes"],
        }

    with new_database() as database, alias_of(database, "from_models") as alias:
        by_models = Migrated(alias)
        by_models.execute("CREATE SEQUENCE outbox_events_seq_seq")
        with by_models.connection.schema_editor() as editor:
            for app in APPS:
                for model in apps.get_app_config(app).get_models():
                    editor.create_model(model)
        expected, found = catalog.read(by_models), catalog.read(shared_head)
        for table in TABLES:
            assert known_to_models(found[table]) == known_to_models(expected[table]), table


def test_every_table_and_column_is_commented(shared_head: Migrated) -> None:
    found = catalog.read(shared_head)

    for table in TABLES:
        assert found[table]["comment"], table
        for column in found[table]["columns"]:
            assert column["comment"], f"{table}.{column['name']}"


def test_nothing_is_left_invalid_or_unvalidated(shared_head: Migrated) -> None:
    for table, facts in catalog.read(shared_head).items():
        assert all(index["valid"] for index in facts["indexes"]), table
        assert all(constraint["validated"] for constraint in facts["constraints"]), table
        assert not any(
            constraint["deferrable"] for constraint in facts["constraints"] if table in TABLES
        ), table


def test_every_migration_can_be_undone() -> None:
    loader = MigrationLoader(None)

    for (app, name), migration in loader.disk_migrations.items():
        if app in APPS:
            assert all(operation.reversible for operation in migration.operations), (app, name)


def test_a_migration_that_is_not_atomic_holds_one_operation() -> None:
    loader = MigrationLoader(None)

    for (app, name), migration in loader.disk_migrations.items():
        if app in APPS and not migration.atomic:
            assert len(migration.operations) == 1, (app, name)


def test_each_app_names_its_baseline() -> None:
    loader = MigrationLoader(None)

    for app in APPS:
        config: Any = apps.get_app_config(app)
        assert config.schema_owned is True
        assert (app, config.schema_baseline) in loader.disk_migrations


class TestForeignKeys:
    def test_there_are_these_and_no_others(self, shared_head: Migrated) -> None:
        assert set(
            shared_head.rows(
                "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint "
                "WHERE contype = 'f' AND conrelid::regclass::text = ANY(%s)",
                [TABLES],
            )
        ) == {
            ("workers", "FOREIGN KEY (provider_id) REFERENCES provider_configs(id) ON DELETE RESTRICT"),
            ("workers", "FOREIGN KEY (current_job_id) REFERENCES jobs(id) ON DELETE SET NULL"),
            (
                "jobs",
                "FOREIGN KEY (selected_provider_id) REFERENCES provider_configs(id) ON DELETE SET NULL",
            ),
            ("job_queue", "FOREIGN KEY (job_id) REFERENCES jobs(id) ON DELETE CASCADE"),
            ("job_queue_deferred", "FOREIGN KEY (job_id) REFERENCES jobs(id) ON DELETE CASCADE"),
            ("job_log_files", "FOREIGN KEY (job_id) REFERENCES jobs(id) ON DELETE CASCADE"),
            ("outbox_dlq_actions", "FOREIGN KEY (dlq_id) REFERENCES outbox_dlq(id) ON DELETE CASCADE"),
            ("saga_steps", "FOREIGN KEY (saga_id) REFERENCES sagas(id) ON DELETE CASCADE"),
            ("job_failed_attempts", "FOREIGN KEY (job_id) REFERENCES jobs(id) ON DELETE CASCADE"),
            ("job_log_tails", "FOREIGN KEY (job_id) REFERENCES jobs(id) ON DELETE CASCADE"),
            ("saga_step_attempts", "FOREIGN KEY (step_id) REFERENCES saga_steps(id) ON DELETE CASCADE"),
            ("saga_locks", "FOREIGN KEY (saga_id) REFERENCES sagas(id) ON DELETE CASCADE"),
        }  # fmt: skip

    def test_a_queued_job_can_be_deleted_and_leaves_its_place(self, rolled_back: Migrated) -> None:
        key = job(rolled_back, state="PENDING")
        rolled_back.insert("job_queue", job_id=key)

        rolled_back.execute("DELETE FROM jobs WHERE id = %s", [key])

        assert rolled_back.value("SELECT count(*) FROM job_queue") == 0


class TestAppendOnly:
    ROWS = (
        (
            "audit_logs",
            "INSERT INTO audit_logs SELECT gen_random_uuid(), NULL, 'A', '{}', now(), NULL",
        ),
        (
            "saga_audit_events",
            "INSERT INTO saga_audit_events (saga_id, event_type) SELECT gen_random_uuid(), 'A'",
        ),
    )

    @pytest.mark.parametrize(("table", "insert"), ROWS)
    @pytest.mark.parametrize("change", ["UPDATE {} SET event_type = 'x'", "DELETE FROM {}"])
    def test_a_change_is_refused(
        self, rolled_back: Migrated, table: str, insert: str, change: str
    ) -> None:
        rolled_back.execute(insert)

        with pytest.raises(IntegrityError, match=f"{table} is append-only"):
            rolled_back.execute(change.format(table))

    @pytest.mark.parametrize(("table", "insert"), ROWS)
    def test_retention_may_delete(self, rolled_back: Migrated, table: str, insert: str) -> None:
        rolled_back.execute(insert)

        rolled_back.execute("SET LOCAL hodei.retention = 'on'")

        assert rolled_back.execute(f"UPDATE {table} SET event_type = 'x'") == 1
        assert rolled_back.execute(f"DELETE FROM {table}") == 1


class TestDefaults:
    def test_django_lets_the_database_number_events(self, rolled_back: Migrated) -> None:
        created = [
            outbox_models.Event.objects.using(rolled_back.alias).create(
                aggregate_id="00000000-0000-0000-0000-000000000041",
                aggregate_type="ORDER",
                event_type="OrderPlaced",
                payload={},
            )
            for _ in range(2)
        ]

        found = list(outbox_models.Event.objects.using(rolled_back.alias).order_by("seq"))
        assert [event.pk for event in found] == [event.pk for event in created]
        assert found[1].seq == found[0].seq + 1
        assert {event.lane for event in found} == {1}
        assert {event.status for event in found} == {"PENDING"}

    def test_an_event_can_be_saved_again(self, rolled_back: Migrated) -> None:
        events = outbox_models.Event.objects.using(rolled_back.alias)
        key = events.create(
            aggregate_id="00000000-0000-0000-0000-000000000041",
            aggregate_type="ORDER",
            event_type="OrderPlaced",
            payload={},
        ).pk

        again = events.get(pk=key)
        again.published_at = NOW
        again.save()

        assert events.get(pk=key).published_at == NOW

    def test_created_at_is_the_start_of_the_transaction(self, rolled_back: Migrated) -> None:
        jobs_models.Job.objects.using(rolled_back.alias).create(spec={}, state="PENDING")

        assert rolled_back.value("SELECT created_at = now() FROM jobs")


def test_not_null_is_set_by_proof_and_not_by_reading(baseline: Migrated) -> None:
    """PostgreSQL says at DEBUG1 that a valid CHECK spares it the scan."""
    said: list[str] = []
    baseline.migrate("outbox", "0008_validate_not_null")
    baseline.execute("SET client_min_messages = debug1")
    raw = connections[baseline.alias].connection
    raw.add_notice_handler(lambda notice: said.append(notice.message_primary))

    baseline.migrate("outbox", "0009_not_null")

    spared = [text for text in said if "sufficient to prove" in text]
    assert len(spared) == 6
