"""The older forms of the original's tables, each made from its last one by what was otherwise then.

Functions that change a database of the contract, with rows in it. ``OLDER`` has all of them, each
of which a real database may be in by itself or with others.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.databases import Migrated
from tests.migrations.original import BEGINNING, JOB, LOG, SAGA, key

Older = Callable[[Migrated], None]

NOBODY = "'99999999-0000-4000-8000-000000000000'"

#: Paths that a job's log may have had, and the URI of each.
PATHS = {
    "/var/log/hodei/1.log": "file:///var/log/hodei/1.log",
    "/var/log/hodei/a job's log.log": "file:///var/log/hodei/a%20job%27s%20log.log",
    "/logs/100%.log": "file:///logs/100%25.log",
    "/logs/#7?x=1.log": "file:///logs/%237%3Fx%3D1.log",
    "/logs/日誌/ñ.log": "file:///logs/%E6%97%A5%E8%AA%8C/%C3%B1.log",
    '/logs/"quoted".log': "file:///logs/%22quoted%22.log",
    "logs/relative one.log": "file:logs/relative%20one.log",
    "s3://bucket/job 1.log": "s3://bucket/job 1.log",
    "file:///already/there.log": "file:///already/there.log",
}


def log_files_v1(database: Migrated) -> None:
    """Several files of a job, by path, and perhaps without an expiry."""
    database.execute(
        """
        DROP TABLE job_log_files;
        CREATE TABLE job_log_files (
            job_id uuid NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
            file_path text NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            expires_at timestamptz,
            PRIMARY KEY (job_id, file_path)
        );
        CREATE INDEX idx_job_log_files_expires_at ON job_log_files (expires_at)
        """
    )
    for number, path in enumerate(PATHS, 1):
        database.execute(
            f"INSERT INTO job_log_files VALUES ({key(JOB, '%s')}, %s, {BEGINNING}, NULL)",
            [number, path],
        )
    # Three of the first job: the one of the hour after is the newest, and expires when it says.
    database.execute(
        f"""
        INSERT INTO job_log_files VALUES
            ({key(JOB, "1")}, '/logs/later.log', {BEGINNING} + interval '1 hour', {BEGINNING}),
            ({key(JOB, "1")}, '/logs/old one.log', {BEGINNING} - interval '1 hour', NULL)
        """
    )


def log_files_converted(database: Migrated) -> None:
    """From v1 by the original's own migration: paths as they were, and names with a number."""
    database.execute(
        """
        ALTER TABLE job_log_files RENAME CONSTRAINT job_log_files_pkey TO job_log_files_pkey1;
        ALTER TABLE job_log_files
            RENAME CONSTRAINT job_log_files_job_id_fkey TO job_log_files_job_id_fkey1
        """
    )
    for number, path in enumerate(PATHS, 1):
        database.execute(
            f"UPDATE job_log_files SET storage_uri = %s WHERE id = {key(LOG, '%s')}", [path, number]
        )


def log_files_half_converted(database: Migrated) -> None:
    """The same, statement by statement: it stopped at the constraint that two files broke."""
    log_files_converted(database)
    database.execute(
        f"""
        ALTER TABLE job_log_files DROP CONSTRAINT uq_job_log_files_job_id;
        DROP INDEX idx_job_log_files_job_id, idx_job_log_files_storage_uri;
        INSERT INTO job_log_files (job_id, storage_uri, created_at, expires_at)
        VALUES ({key(JOB, "1")}, '/logs/old one.log', {BEGINNING} - interval '1 hour', {BEGINNING})
        """
    )


def log_files_without_jobs(database: Migrated) -> None:
    """The first migration was undone, which took the key along, and applied again."""
    database.execute(
        f"""
        ALTER TABLE job_log_files DROP CONSTRAINT IF EXISTS job_log_files_job_id_fkey,
            DROP CONSTRAINT IF EXISTS job_log_files_job_id_fkey1;
        INSERT INTO job_log_files (job_id, storage_uri, expires_at)
        VALUES ({NOBODY}, 'file:///logs/orphan.log', {BEGINNING})
        """
    )


def dead_letters_without_saga(database: Migrated) -> None:
    """The older of two migrations of one version, which wins where all run by name."""
    database.execute(
        """
        ALTER TABLE outbox_dlq DROP CONSTRAINT outbox_dlq_aggregate_type_check,
            ADD CONSTRAINT outbox_dlq_aggregate_type_check
                CHECK (aggregate_type IN ('JOB', 'WORKER', 'PROVIDER'));
        DROP INDEX idx_dlq_moved_at;
        COMMENT ON COLUMN outbox_dlq.error_message IS 'Why';
        COMMENT ON COLUMN outbox_dlq.retry_count IS 'How often';
        COMMENT ON COLUMN outbox_dlq.moved_at IS 'When'
        """
    )


def all_eight_by_name(database: Migrated) -> None:
    """Every migration of the folder in the order of their names."""
    dead_letters_without_saga(database)
    log_files_converted(database)


def cascading_queue(database: Migrated) -> None:
    database.execute(
        """
        ALTER TABLE job_queue DROP CONSTRAINT IF EXISTS job_queue_job_id_fkey,
            ADD FOREIGN KEY (job_id) REFERENCES jobs (id) ON DELETE CASCADE
        """
    )


def queue_without_jobs(database: Migrated) -> None:
    database.execute(
        f"""
        ALTER TABLE job_queue DROP CONSTRAINT IF EXISTS job_queue_job_id_fkey;
        INSERT INTO job_queue (job_id, enqueued_at, priority) VALUES ({NOBODY}, {BEGINNING}, 7)
        """
    )


def made_at_start_up(database: Migrated) -> None:
    """By the repositories' own statements: no CHECK, few indexes, and rows that a CHECK forbids."""
    cascading_queue(database)
    database.execute(
        """
        ALTER TABLE workers DROP CONSTRAINT workers_state_check,
            DROP CONSTRAINT workers_provider_type_check;
        ALTER TABLE jobs DROP CONSTRAINT jobs_state_check;
        ALTER TABLE provider_configs DROP CONSTRAINT provider_configs_status_check,
            DROP CONSTRAINT provider_configs_provider_type_check;
        DROP INDEX idx_workers_current_job, idx_workers_last_heartbeat, idx_jobs_selected_provider,
            idx_jobs_assigned_provider, idx_audit_correlation_id, idx_audit_actor;
        CREATE INDEX idx_audit_correlation_id ON audit_logs (correlation_id);
        CREATE INDEX idx_audit_actor ON audit_logs (actor);
        ALTER INDEX idx_audit_event_occurred RENAME TO idx_audit_event_date
        """
    )
    for number, state in enumerate(("CREATING", "CONNECTING", "DRAINING", "TERMINATING"), 1):
        database.execute(
            "UPDATE workers SET state = %s, provider_type = 'custom:firecracker' "
            f"WHERE id = ('00000003-0000-4000-8000-00000000000{number}')",
            [state],
        )
    database.execute(
        f"""
        UPDATE jobs SET state = 'TIMEOUT' WHERE id = {key(JOB, "1")};
        UPDATE jobs SET state = 'SCHEDULED' WHERE id = {key(JOB, "2")};
        UPDATE provider_configs SET status = 'DISABLED', provider_type = 'fargate'
         WHERE name = 'provider 1'
        """
    )


def outbox_at_start_up(database: Migrated) -> None:
    """By the outbox repository: no SAGA, one index, no comment."""
    database.execute(
        """
        ALTER TABLE outbox_events DROP CONSTRAINT outbox_events_aggregate_type_check,
            ADD CONSTRAINT outbox_events_aggregate_type_check
                CHECK (aggregate_type IN ('JOB', 'WORKER', 'PROVIDER'));
        DROP INDEX idx_outbox_aggregate, idx_outbox_event_type, idx_outbox_pending_retries;
        COMMENT ON TABLE outbox_events IS NULL;
        COMMENT ON COLUMN outbox_events.status IS NULL;
        COMMENT ON COLUMN outbox_events.idempotency_key IS NULL;
        DROP TABLE outbox_dlq
        """
    )


def outbox_of_a_flat_file(database: Migrated) -> None:
    """No SAGA, no index for retries, and two indexes that another file repeats."""
    database.execute(
        """
        ALTER TABLE outbox_events DROP CONSTRAINT outbox_events_aggregate_type_check,
            ADD CONSTRAINT outbox_events_aggregate_type_check
                CHECK (aggregate_type IN ('JOB', 'WORKER', 'PROVIDER'));
        DROP INDEX idx_outbox_pending_retries;
        CREATE INDEX idx_outbox_events_pending ON outbox_events (created_at)
            WHERE status = 'PENDING';
        CREATE INDEX idx_outbox_events_idempotency ON outbox_events (idempotency_key)
            WHERE idempotency_key IS NOT NULL
        """
    )


def reconciliation_indexes(database: Migrated) -> None:
    """A flat file whose indexes name states that the CHECK forbids."""
    database.execute(
        """
        CREATE INDEX idx_workers_heartbeat_state ON workers (last_heartbeat, state)
            WHERE state NOT IN ('TERMINATED', 'TERMINATING');
        CREATE INDEX idx_workers_state_updated ON workers (state, updated_at)
            WHERE state IN ('READY', 'BUSY', 'CONNECTING', 'CREATING')
        """
    )


def sagas_of_a_flat_file(database: Migrated) -> None:
    """Without the index of two columns; that of correlation ids is full."""
    database.execute(
        """
        DROP INDEX idx_sagas_type_state, idx_sagas_correlation_id;
        CREATE INDEX idx_sagas_correlation_id ON sagas (correlation_id)
        """
    )


def steps_without_sagas(database: Migrated) -> None:
    database.execute(
        f"""
        ALTER TABLE saga_steps DROP CONSTRAINT saga_steps_saga_id_fkey;
        ALTER TABLE saga_audit_events DROP CONSTRAINT saga_audit_events_saga_id_fkey;
        INSERT INTO saga_steps (saga_id, step_name, step_order, state)
        VALUES ({NOBODY}, 'ValidateJob', 0, 'COMPLETED');
        INSERT INTO saga_audit_events (saga_id, event_type, occurred_at)
        VALUES ({NOBODY}, 'Started', NULL);
        DELETE FROM sagas WHERE id = {key(SAGA, "3")}
        """
    )


def no_token_table(database: Migrated) -> None:
    database.execute("DROP TABLE worker_bootstrap_tokens")


def tokens_of_january(database: Migrated) -> None:
    """Brought back without two things, with indexes; a side line added a column."""
    database.execute(
        """
        ALTER TABLE worker_bootstrap_tokens DROP COLUMN created_at,
            ALTER COLUMN token DROP DEFAULT, ADD COLUMN provider_resource_id text;
        CREATE INDEX idx_tokens_worker ON worker_bootstrap_tokens (worker_id);
        CREATE INDEX idx_tokens_expires ON worker_bootstrap_tokens (expires_at);
        CREATE INDEX idx_tokens_open ON worker_bootstrap_tokens (consumed_at)
            WHERE consumed_at IS NULL;
        CREATE INDEX idx_tokens_resource ON worker_bootstrap_tokens (provider_resource_id)
            WHERE provider_resource_id IS NOT NULL
        """
    )


def events_table(database: Migrated) -> None:
    """Made by the event bus when it starts; no app has it."""
    database.execute(
        """
        CREATE TABLE domain_events (
            id uuid PRIMARY KEY, occurred_at timestamptz NOT NULL, event_type varchar(255) NOT NULL,
            aggregate_id varchar(255) NOT NULL, correlation_id varchar(255), actor varchar(255),
            payload jsonb NOT NULL);
        CREATE INDEX idx_domain_events_aggregate_id ON domain_events (aggregate_id);
        INSERT INTO domain_events VALUES
            (gen_random_uuid(), now(), 'JobCreated', 'job-1', NULL, NULL, '{}')
        """
    )


SQLX = """
    CREATE TABLE _sqlx_migrations (
        version bigint PRIMARY KEY, description text NOT NULL,
        installed_on timestamptz NOT NULL DEFAULT now(), success boolean NOT NULL,
        checksum bytea NOT NULL, execution_time bigint NOT NULL)
"""


def both_sqlx_tables(database: Migrated) -> None:
    """That of sqlx, and the home-made one with another underscore."""
    database.execute(SQLX)
    for version, words, success, nanoseconds in (
        (20241221000000, "init schema", True, 123_456_789),
        (20241223150400, "outbox pattern", True, -1),
        (20251228120000, "outbox dlq", False, 5_000_000),
    ):
        database.insert(
            "_sqlx_migrations",
            version=version,
            description=words,
            installed_on="2025-12-30 10:00:00+00",
            success=success,
            checksum=bytes(range(48)),
            execution_time=nanoseconds,
        )
    database.execute(
        """
        CREATE TABLE __sqlx_migrations (
            version bigint PRIMARY KEY, description varchar(255),
            installed_on timestamptz NOT NULL DEFAULT now(), execution_time bigint,
            success boolean NOT NULL DEFAULT true, checksum varchar(255));
        INSERT INTO __sqlx_migrations (version, description, installed_on, execution_time)
        VALUES (20260114000000, 'initial', 'infinity', 12), (20260115000000, NULL, now(), NULL)
        """
    )


def as_the_contract(_database: Migrated) -> None:
    """By the five migrations, in their order."""


OLDER: tuple[Older, ...] = (
    as_the_contract,
    log_files_v1,
    log_files_converted,
    log_files_half_converted,
    log_files_without_jobs,
    dead_letters_without_saga,
    all_eight_by_name,
    cascading_queue,
    queue_without_jobs,
    made_at_start_up,
    outbox_at_start_up,
    outbox_of_a_flat_file,
    reconciliation_indexes,
    sagas_of_a_flat_file,
    steps_without_sagas,
    no_token_table,
    tokens_of_january,
    events_table,
    both_sqlx_tables,
)
