"""Single changes to a healthy database: each is found, named rightly, and repaired as suggested."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import pytest
from django.core.management import call_command
from django.db import connections
from django.db.migrations.loader import MigrationLoader
from django.test import override_settings

from hodei.schema import drift
from hodei.schema.catalog.inspection import read_catalog
from hodei.schema.catalog.model import Catalog
from hodei.schema.replay.scratch import replay
from hodei.schema.replay.sessions import never_kept, private_connection
from hodei.schema.results import Finding
from tests.databases import alias_of, new_database

#: Roles are the whole server's, and other processes run these tests at the same time.
OTHER_ROLE = f"hodei_test_{os.getpid()}"


class Mutation(NamedTuple):
    """SQL, the kind of finding it must be told as, and on what."""

    sql: str
    kind: str
    subject: str


JOB = "foundry_job"
#: The forty of the survey of tools.
FORTY = {
    "table dropped": Mutation("DROP TABLE foundry_letter", "missing_table", "foundry_letter"),
    "table added": Mutation("CREATE TABLE extra (id int)", "unexpected_table", "extra"),
    "column dropped": Mutation(
        "ALTER TABLE foundry_job DROP COLUMN touched_at", "missing_column", f"{JOB}.touched_at"
    ),
    "column added": Mutation(
        "ALTER TABLE foundry_job ADD COLUMN extra int", "unexpected_column", f"{JOB}.extra"
    ),
    "varchar length": Mutation(
        "ALTER TABLE foundry_queue ALTER name TYPE varchar(32)", "column_type", "foundry_queue.name"
    ),
    "int to bigint": Mutation(
        "ALTER TABLE foundry_job ALTER priority TYPE bigint", "column_type", f"{JOB}.priority"
    ),
    "not null dropped": Mutation(
        "ALTER TABLE foundry_job ALTER queue_id DROP NOT NULL", "nullability", f"{JOB}.queue_id"
    ),
    "not null set": Mutation(
        "ALTER TABLE foundry_job ALTER note SET NOT NULL", "nullability", f"{JOB}.note"
    ),
    "default dropped": Mutation(
        "ALTER TABLE foundry_job ALTER state DROP DEFAULT", "default", f"{JOB}.state"
    ),
    "default changed": Mutation(
        "ALTER TABLE foundry_job ALTER priority SET DEFAULT 5", "default", f"{JOB}.priority"
    ),
    "index dropped": Mutation(
        "DROP INDEX foundry_letter_reason_idx",
        "missing_index",
        "foundry_letter.foundry_letter_reason_idx",
    ),
    "partial index dropped": Mutation(
        "DROP INDEX foundry_job_ready_idx", "missing_index", f"{JOB}.foundry_job_ready_idx"
    ),
    "gin index dropped": Mutation(
        "DROP INDEX foundry_job_payload_idx", "missing_index", f"{JOB}.foundry_job_payload_idx"
    ),
    "index added": Mutation(
        "CREATE INDEX extra_idx ON foundry_job (touched_at)", "unexpected_index", f"{JOB}.extra_idx"
    ),
    "index predicate": Mutation(
        "DROP INDEX foundry_job_ready_idx; CREATE INDEX foundry_job_ready_idx "
        "ON foundry_job (run_at) WHERE state = 'running'",
        "index_predicate",
        f"{JOB}.foundry_job_ready_idx",
    ),
    "index columns reordered": Mutation(
        "DROP INDEX foundry_job_state_idx; CREATE INDEX foundry_job_state_idx "
        "ON foundry_job (priority DESC, state)",
        "index_columns",
        f"{JOB}.foundry_job_state_idx",
    ),
    "include lost": Mutation(
        "DROP INDEX foundry_job_queue_idx; "
        "CREATE INDEX foundry_job_queue_idx ON foundry_job (queue_id)",
        "index_included_columns",
        f"{JOB}.foundry_job_queue_idx",
    ),
    "index invalid": Mutation(
        "UPDATE pg_index SET indisvalid = false "
        "WHERE indexrelid = 'foundry_job_state_idx'::regclass",
        "invalid_index",
        f"{JOB}.foundry_job_state_idx",
    ),
    "index expression": Mutation(
        "DROP INDEX foundry_job_note_idx; "
        "CREATE INDEX foundry_job_note_idx ON foundry_job (upper(note))",
        "index_expression",
        f"{JOB}.foundry_job_note_idx",
    ),
    "check dropped": Mutation(
        "ALTER TABLE foundry_job DROP CONSTRAINT foundry_job_state_check",
        "missing_check",
        f"{JOB}.foundry_job_state_check",
    ),
    "check changed": Mutation(
        "ALTER TABLE foundry_job DROP CONSTRAINT foundry_job_priority_range, "
        "ADD CONSTRAINT foundry_job_priority_range CHECK (priority BETWEEN 0 AND 99)",
        "check_expression",
        f"{JOB}.foundry_job_priority_range",
    ),
    "check not valid": Mutation(
        "ALTER TABLE foundry_job DROP CONSTRAINT foundry_job_priority_range, "
        "ADD CONSTRAINT foundry_job_priority_range CHECK (priority BETWEEN 0 AND 9) NOT VALID",
        "not_valid",
        f"{JOB}.foundry_job_priority_range",
    ),
    "foreign key dropped": Mutation(
        "ALTER TABLE foundry_job DROP CONSTRAINT foundry_job_queue_fk",
        "missing_foreign_key",
        f"{JOB}.foundry_job_queue_fk",
    ),
    "foreign key cascades": Mutation(
        "ALTER TABLE foundry_job DROP CONSTRAINT foundry_job_queue_fk, "
        "ADD CONSTRAINT foundry_job_queue_fk FOREIGN KEY (queue_id) "
        "REFERENCES foundry_queue (id) ON DELETE CASCADE",
        "foreign_key_on_delete",
        f"{JOB}.foundry_job_queue_fk",
    ),
    "partial unique dropped": Mutation(
        "DROP INDEX foundry_job_live_key", "missing_index", f"{JOB}.foundry_job_live_key"
    ),
    "partial unique widened": Mutation(
        "DROP INDEX foundry_job_live_key; CREATE UNIQUE INDEX foundry_job_live_key "
        "ON foundry_job (key) WHERE state IN ('new', 'running')",
        "index_predicate",
        f"{JOB}.foundry_job_live_key",
    ),
    "unique together dropped": Mutation(
        "ALTER TABLE foundry_job DROP CONSTRAINT foundry_job_queue_key_uniq",
        "missing_unique",
        f"{JOB}.foundry_job_queue_key_uniq",
    ),
    "column comment": Mutation(
        "COMMENT ON COLUMN foundry_queue.paused IS 'It''s other'", "comment", "foundry_queue.paused"
    ),
    "table comment": Mutation("COMMENT ON TABLE foundry_queue IS NULL", "comment", "foundry_queue"),
    "trigger dropped": Mutation(
        "DROP TRIGGER foundry_job_touch ON foundry_job",
        "missing_trigger",
        f"{JOB}.foundry_job_touch",
    ),
    "trigger disabled": Mutation(
        "ALTER TABLE foundry_job DISABLE TRIGGER foundry_job_touch",
        "disabled_trigger",
        f"{JOB}.foundry_job_touch",
    ),
    "function body": Mutation(
        "CREATE OR REPLACE FUNCTION foundry_touch() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN RETURN NEW; END'",
        "function_body",
        "foundry_touch()",
    ),
    "row security on": Mutation(
        "ALTER TABLE foundry_job ENABLE ROW LEVEL SECURITY", "row_security", JOB
    ),
    "unlogged": Mutation("ALTER TABLE foundry_letter SET UNLOGGED", "unlogged", "foundry_letter"),
    "autovacuum off": Mutation(
        "ALTER TABLE foundry_job SET (autovacuum_enabled = off)", "storage_parameters", JOB
    ),
    "collation": Mutation(
        'ALTER TABLE foundry_queue ALTER name TYPE varchar(64) COLLATE "POSIX"',
        "collation",
        "foundry_queue.name",
    ),
    "identity dropped": Mutation(
        "ALTER TABLE foundry_job ALTER id DROP IDENTITY", "identity", f"{JOB}.id"
    ),
    "generated expression lost": Mutation(
        "ALTER TABLE foundry_worker ALTER label_length DROP EXPRESSION",
        "generated",
        "foundry_worker.label_length",
    ),
    "privilege revoked": Mutation("REVOKE SELECT ON foundry_job FROM PUBLIC", "privileges", JOB),
    "owner changed": Mutation(
        f"ALTER TABLE foundry_letter OWNER TO {OTHER_ROLE}", "owner", "foundry_letter"
    ),
}
MORE = {
    "serial sequence unowned": Mutation(
        "ALTER SEQUENCE foundry_worker_id_seq OWNED BY NONE",
        "sequence_ownership",
        "foundry_worker.id",
    ),
    "serial default dropped": Mutation(
        "ALTER TABLE foundry_worker ALTER id DROP DEFAULT", "identity", "foundry_worker.id"
    ),
    "identity always": Mutation(
        "ALTER TABLE foundry_job ALTER id SET GENERATED ALWAYS", "identity", f"{JOB}.id"
    ),
    "identity sequence cycles": Mutation(
        "ALTER SEQUENCE foundry_job_id_seq INCREMENT 7 CYCLE",
        "changed_sequence",
        f"{JOB}.foundry_job_id_seq",
    ),
    "identity sequence renamed": Mutation(
        "ALTER SEQUENCE foundry_job_id_seq RENAME TO numbers", "renamed", f"{JOB}.numbers"
    ),
    "sequence increment": Mutation(
        "ALTER SEQUENCE foundry_ticket INCREMENT 1", "changed_sequence", "foundry_ticket"
    ),
    "sequence owned": Mutation(
        "ALTER SEQUENCE foundry_ticket OWNED BY foundry_worker.ticket",
        "sequence_ownership",
        "foundry_ticket",
    ),
    "sequence added": Mutation("CREATE SEQUENCE extra_seq", "unexpected_sequence", "extra_seq"),
    "primary key dropped": Mutation(
        "ALTER TABLE foundry_letter DROP CONSTRAINT foundry_letter_pkey",
        "missing_primary_key",
        "foundry_letter.foundry_letter_pkey",
    ),
    "primary key of other columns": Mutation(
        "ALTER TABLE foundry_letter DROP CONSTRAINT foundry_letter_pkey, "
        "ADD CONSTRAINT foundry_letter_pkey PRIMARY KEY (id, job_id)",
        "changed_primary_key",
        "foundry_letter.foundry_letter_pkey",
    ),
    "unique narrowed": Mutation(
        "ALTER TABLE foundry_job DROP CONSTRAINT foundry_job_queue_key_uniq, "
        "ADD CONSTRAINT foundry_job_queue_key_uniq UNIQUE (key)",
        "changed_unique",
        f"{JOB}.foundry_job_queue_key_uniq",
    ),
    "exclusion dropped": Mutation(
        "ALTER TABLE foundry_queue DROP CONSTRAINT foundry_queue_span_excl",
        "missing_exclusion",
        "foundry_queue.foundry_queue_span_excl",
    ),
    "check added": Mutation(
        "ALTER TABLE foundry_job ADD CONSTRAINT extra CHECK (priority <> 4)",
        "unexpected_check",
        f"{JOB}.extra",
    ),
    "check renamed": Mutation(
        "ALTER TABLE foundry_job RENAME CONSTRAINT foundry_job_priority_range TO other_name",
        "renamed",
        f"{JOB}.other_name",
    ),
    "foreign key target": Mutation(
        "ALTER TABLE foundry_letter DROP CONSTRAINT foundry_letter_job_fk, "
        "ADD CONSTRAINT foundry_letter_job_fk FOREIGN KEY (job_id) "
        "REFERENCES foundry_queue (id) ON DELETE CASCADE",
        "foreign_key_target",
        "foundry_letter.foundry_letter_job_fk",
    ),
    "foreign key columns": Mutation(
        "ALTER TABLE foundry_letter DROP CONSTRAINT foundry_letter_job_fk, "
        "ADD CONSTRAINT foundry_letter_job_fk FOREIGN KEY (id) "
        "REFERENCES foundry_job (id) ON DELETE CASCADE",
        "foreign_key_columns",
        "foundry_letter.foundry_letter_job_fk",
    ),
    "foreign key on update": Mutation(
        "ALTER TABLE foundry_letter DROP CONSTRAINT foundry_letter_job_fk, "
        "ADD CONSTRAINT foundry_letter_job_fk FOREIGN KEY (job_id) "
        "REFERENCES foundry_job (id) ON DELETE CASCADE ON UPDATE CASCADE",
        "foreign_key_on_update",
        "foundry_letter.foundry_letter_job_fk",
    ),
    "foreign key deferrability": Mutation(
        "ALTER TABLE foundry_worker ALTER CONSTRAINT foundry_worker_queue_fk NOT DEFERRABLE",
        "deferrability",
        "foundry_worker.foundry_worker_queue_fk",
    ),
    "foreign key not valid": Mutation(
        "ALTER TABLE foundry_job DROP CONSTRAINT foundry_job_queue_fk, "
        "ADD CONSTRAINT foundry_job_queue_fk FOREIGN KEY (queue_id) "
        "REFERENCES foundry_queue (id) NOT VALID",
        "not_valid",
        f"{JOB}.foundry_job_queue_fk",
    ),
    "index order": Mutation(
        "DROP INDEX foundry_job_state_idx; "
        "CREATE INDEX foundry_job_state_idx ON foundry_job (state, priority)",
        "index_order",
        f"{JOB}.foundry_job_state_idx",
    ),
    "index operator class": Mutation(
        "DROP INDEX foundry_job_payload_idx; "
        "CREATE INDEX foundry_job_payload_idx ON foundry_job USING gin (payload)",
        "index_operator_class",
        f"{JOB}.foundry_job_payload_idx",
    ),
    "index method": Mutation(
        "DROP INDEX foundry_letter_reason_idx; "
        "CREATE INDEX foundry_letter_reason_idx ON foundry_letter USING hash (reason)",
        "index_method",
        "foundry_letter.foundry_letter_reason_idx",
    ),
    "index no longer unique": Mutation(
        "DROP INDEX foundry_job_live_key; "
        "CREATE INDEX foundry_job_live_key ON foundry_job (key) WHERE state = 'new'",
        "index_uniqueness",
        f"{JOB}.foundry_job_live_key",
    ),
    "index collation": Mutation(
        "DROP INDEX foundry_letter_reason_idx; CREATE INDEX foundry_letter_reason_idx "
        'ON foundry_letter (reason COLLATE "C")',
        "index_collation",
        "foundry_letter.foundry_letter_reason_idx",
    ),
    "index renamed": Mutation(
        "ALTER INDEX foundry_job_note_idx RENAME TO other_name", "renamed", f"{JOB}.other_name"
    ),
    "index twice": Mutation(
        "CREATE INDEX foundry_job_note_idx_ccnew ON foundry_job (lower(note))",
        "unexpected_index",
        f"{JOB}.foundry_job_note_idx_ccnew",
    ),
    "index comment": Mutation(
        "COMMENT ON INDEX foundry_job_state_idx IS NULL", "comment", f"{JOB}.foundry_job_state_idx"
    ),
    "constraint comment": Mutation(
        "COMMENT ON CONSTRAINT foundry_job_state_check ON foundry_job IS NULL",
        "comment",
        f"{JOB}.foundry_job_state_check",
    ),
    "function comment": Mutation(
        "COMMENT ON FUNCTION foundry_touch() IS 'Other'", "comment", "foundry_touch()"
    ),
    "function dropped": Mutation(
        "DROP FUNCTION foundry_double(integer)",
        "missing_function",
        "foundry_double(number integer)",
    ),
    "function added": Mutation(
        "CREATE FUNCTION extra(a int, b text) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "unexpected_function",
        "extra(a integer, b text)",
    ),
    "trigger changed": Mutation(
        "DROP TRIGGER foundry_job_touch ON foundry_job; CREATE TRIGGER foundry_job_touch "
        "BEFORE INSERT ON foundry_job FOR EACH ROW EXECUTE FUNCTION foundry_touch()",
        "changed_trigger",
        f"{JOB}.foundry_job_touch",
    ),
    "trigger added": Mutation(
        "CREATE TRIGGER extra BEFORE UPDATE ON foundry_job "
        "FOR EACH ROW WHEN (NEW.priority = 3) EXECUTE FUNCTION foundry_touch()",
        "unexpected_trigger",
        f"{JOB}.extra",
    ),
    "row security off": Mutation(
        "ALTER TABLE foundry_worker DISABLE ROW LEVEL SECURITY", "row_security", "foundry_worker"
    ),
    "row security forced": Mutation(
        "ALTER TABLE foundry_worker FORCE ROW LEVEL SECURITY", "row_security", "foundry_worker"
    ),
    "policy dropped": Mutation(
        "DROP POLICY foundry_worker_own ON foundry_worker",
        "missing_policy",
        "foundry_worker.foundry_worker_own",
    ),
    "policy widened": Mutation(
        "ALTER POLICY foundry_worker_own ON foundry_worker USING (true)",
        "changed_policy",
        "foundry_worker.foundry_worker_own",
    ),
    "policy added": Mutation(
        "CREATE POLICY extra ON foundry_worker USING (true)",
        "unexpected_policy",
        "foundry_worker.extra",
    ),
    "view changed": Mutation(
        "CREATE OR REPLACE VIEW foundry_ready AS SELECT id, queue_id FROM foundry_job",
        "changed_view",
        "foundry_ready",
    ),
    "view dropped": Mutation("DROP VIEW foundry_ready", "missing_view", "foundry_ready"),
    "view added": Mutation("CREATE VIEW extra AS SELECT 1 AS one", "unexpected_view", "extra"),
    "materialized view dropped": Mutation(
        "DROP MATERIALIZED VIEW foundry_load", "missing_view", "foundry_load"
    ),
    "view in place of a table": Mutation(
        "DROP TABLE foundry_letter; CREATE VIEW foundry_letter AS SELECT 1 AS id",
        "changed_table",
        "foundry_letter",
    ),
    "type added": Mutation("CREATE TYPE extra AS ENUM ('a')", "unexpected_type", "extra"),
    "storage parameter changed": Mutation(
        "ALTER TABLE foundry_job SET (fillfactor = 50)", "storage_parameters", JOB
    ),
    "replica identity": Mutation(
        "ALTER TABLE foundry_job REPLICA IDENTITY FULL", "changed_table", JOB
    ),
    "partition detached": Mutation(
        "ALTER TABLE foundry_event DETACH PARTITION foundry_event_2025",
        "changed_table",
        "foundry_event_2025",
    ),
    "index on a partition made at run time": Mutation(
        "CREATE INDEX extra_idx ON foundry_event_2026 (at)",
        "unexpected_index",
        "foundry_event_2026.extra_idx",
    ),
    "partition unlogged": Mutation(
        "ALTER TABLE foundry_event_2026 SET UNLOGGED", "unlogged", "foundry_event_2026"
    ),
    "privilege granted": Mutation(
        f"GRANT UPDATE ON foundry_letter TO {OTHER_ROLE}", "privileges", "foundry_letter"
    ),
}
#: On the project's own tables.
OURS = {
    "state check": Mutation(
        "ALTER TABLE jobs DROP CONSTRAINT jobs_state_check",
        "missing_check",
        "jobs.jobs_state_check",
    ),
    "claim index": Mutation(
        "DROP INDEX jobs_idempotency_key_key", "missing_index", "jobs.jobs_idempotency_key_key"
    ),
    "audit guard": Mutation(
        "ALTER TABLE audit_logs DISABLE TRIGGER audit_logs_append_only",
        "disabled_trigger",
        "audit_logs.audit_logs_append_only",
    ),
    "event numbers": Mutation(
        "ALTER TABLE outbox_events ALTER seq DROP IDENTITY", "identity", "outbox_events.seq"
    ),
    "foreign key action": Mutation(
        "ALTER TABLE job_queue DROP CONSTRAINT job_queue_job_id_fkey, ADD CONSTRAINT "
        "job_queue_job_id_fkey FOREIGN KEY (job_id) REFERENCES jobs (id) ON DELETE SET NULL",
        "foreign_key_on_delete",
        "job_queue.job_queue_job_id_fkey",
    ),
    "priority nullable": Mutation(
        "ALTER TABLE jobs ALTER priority DROP NOT NULL", "nullability", "jobs.priority"
    ),
    "archive of a way back": Mutation(
        "CREATE TABLE jobs_head_rows (moved_at timestamptz, reason text, row_data jsonb)",
        "unexpected_table",
        "jobs_head_rows",
    ),
    "created_at default": Mutation(
        "ALTER TABLE jobs ALTER created_at DROP DEFAULT", "default", "jobs.created_at"
    ),
    "step order": Mutation(
        "ALTER TABLE saga_steps DROP CONSTRAINT saga_steps_order_key",
        "missing_unique",
        "saga_steps.saga_steps_order_key",
    ),
    "one live saga": Mutation(
        "DROP INDEX sagas_one_live_per_key; CREATE UNIQUE INDEX sagas_one_live_per_key "
        "ON sagas (saga_type, business_key) WHERE business_key IS NOT NULL",
        "index_predicate",
        "sagas.sagas_one_live_per_key",
    ),
    "heartbeat storage": Mutation(
        "ALTER TABLE workers RESET (fillfactor)", "storage_parameters", "workers"
    ),
    "user name length": Mutation(
        "ALTER TABLE auth_user ALTER username TYPE varchar(300)",
        "column_type",
        "auth_user.username",
    ),
    "hashed name": Mutation(
        "ALTER TABLE auth_permission RENAME CONSTRAINT "
        "auth_permission_content_type_id_codename_01ab375a_uniq TO other_name",
        "renamed",
        "auth_permission.other_name",
    ),
}


class Healthy:
    """A database that changes, and what it should be; a new copy after a test that failed.

    Each test leaves it as it found it, and says so at its end, so the next one need not look.
    """

    def __init__(self, alias: str, template: str, expected: Catalog) -> None:
        self.alias = alias
        self.template = template
        self.expected = expected
        self._copy = ExitStack()
        self._is_clean = False

    def execute(self, statement: str) -> None:
        with connections[self.alias].cursor() as cursor:
            cursor.execute(statement)

    def findings(self) -> list[Finding]:
        with private_connection(self.alias) as connection, never_kept(connection):
            live = read_catalog(connection, "public")
        return drift.compare(self.expected, live, privileges=True)

    @contextmanager
    def changed(self) -> Iterator[None]:
        if not self._is_clean:
            self.close()
            database = self._copy.enter_context(new_database(self.template))
            self._copy.enter_context(alias_of(database, self.alias))
            assert self.findings() == []
        self._is_clean = False
        yield
        self._is_clean = True

    def close(self) -> None:
        self._copy.close()


@contextmanager
def healthy_copies(alias: str, database: dict[str, Any], expected: Catalog) -> Iterator[Healthy]:
    healthy = Healthy(alias, database["NAME"], expected)
    try:
        yield healthy
    finally:
        healthy.close()


def replayed(alias: str) -> Catalog:
    """What everything applied makes."""
    with private_connection(alias) as connection:
        return replay(connection, MigrationLoader(connection), ()).catalog


@pytest.fixture(scope="module")
def other_role(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    with django_db_blocker.unblock():
        with connections["default"]._nodb_cursor() as cursor:
            cursor.execute(f"DROP ROLE IF EXISTS {OTHER_ROLE}")
            cursor.execute(f"CREATE ROLE {OTHER_ROLE}")
        yield
        with connections["default"]._nodb_cursor() as cursor:
            cursor.execute(f"DROP ROLE {OTHER_ROLE}")


@pytest.fixture(scope="module")
def foundries(other_role: None, django_db_blocker: Any) -> Iterator[Healthy]:
    apps = ["django.contrib.contenttypes", "hodei.schema", "tests.schema.apps.foundry"]
    partition = (
        "CREATE TABLE foundry_event_2026 PARTITION OF foundry_event "
        "FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')"
    )
    with django_db_blocker.unblock(), new_database() as database:
        with override_settings(INSTALLED_APPS=apps), alias_of(database, "foundries") as alias:
            call_command("migrate", database=alias, interactive=False, verbosity=0)
            expected = replayed(alias)
            with connections[alias].cursor() as cursor:
                cursor.execute(partition)
        with healthy_copies("foundries", database, expected) as healthy:
            yield healthy


@pytest.fixture(scope="module")
def ours(django_db_setup: dict[str, Any], django_db_blocker: Any) -> Iterator[Healthy]:
    with django_db_blocker.unblock():
        with alias_of(django_db_setup, "ours") as alias:
            expected = replayed(alias)
        with healthy_copies("ours", django_db_setup, expected) as healthy:
            yield healthy


def prove(database: Healthy, mutation: Mutation) -> None:
    with database.changed():
        database.execute(mutation.sql)
        found = database.findings()

        assert (mutation.kind, mutation.subject) in [(one.kind, one.subject) for one in found]
        for one in found:
            assert one.message.endswith(".")
            assert one.subject in one.message
            for statement in one.repair:
                database.execute(statement)
        assert database.findings() == []


class TestForty:
    def test_there_are_forty(self) -> None:
        assert len(FORTY) == 40
        assert len(MORE) >= 20

    @pytest.mark.parametrize("name", FORTY)
    def test_is_found_and_repaired(self, foundries: Healthy, name: str) -> None:
        prove(foundries, FORTY[name])


class TestMore:
    @pytest.mark.parametrize("name", MORE)
    def test_is_found_and_repaired(self, foundries: Healthy, name: str) -> None:
        prove(foundries, MORE[name])


class TestOurTables:
    @pytest.mark.parametrize("name", OURS)
    def test_is_found_and_repaired(self, ours: Healthy, name: str) -> None:
        prove(ours, OURS[name])
