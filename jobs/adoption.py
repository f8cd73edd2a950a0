"""The past of these tables: what the original's older releases and its own code made of them.

For ``schema_adopt``, which runs it and knows none of it. Every rule is in
docs/reference/schema_adopt.md.
"""

from __future__ import annotations

from dataclasses import replace

from hodei.schema.adoption.variants import Adoption, ForeignHistory, OlderShape, RowRepair
from hodei.schema.catalog.model import Column, Relation
from hodei.schema.repair import kept

#: How long the original kept a log file where nothing else was said.
TTL = "interval '168 hours'"

#: A path whose URI is the path itself, and what is a URI already.
PLAIN_PATH = "^/[A-Za-z0-9_.~/-]*$"
URI = "^([A-Za-z][A-Za-z0-9+.-]*://|file:)"

PLAIN_URI = (
    f"CASE WHEN storage_uri ~ '{PLAIN_PATH}' THEN 'file://' || storage_uri ELSE storage_uri END"
)

# Log files v1 had several rows per job, no id, a path in place of a URI and perhaps no expiry. One
# rewrite gives the rows that they are.
_SIZES = (
    Column(
        name="id",
        type="uuid",
        nullable=False,
        default="gen_random_uuid()",
    ),
    Column(name="size_bytes", type="bigint", nullable=False, default="0"),
    Column(name="entry_count", type="integer", nullable=False, default="0"),
)


def convert_log_files(table: Relation) -> tuple[tuple[str, ...], Relation]:
    """From v1 (job_id, file_path, created_at, expires_at) to the columns of v2."""
    keys = [one for one in table.constraints if one.type == "p"]
    actions = [
        *(f'DROP CONSTRAINT "{one.name}"' for one in keys),
        *(f"ADD COLUMN {one.name} {one.type} NOT NULL DEFAULT {one.default}" for one in _SIZES),
        f"ALTER COLUMN storage_uri TYPE text USING {PLAIN_URI}",
        f"ALTER COLUMN expires_at TYPE timestamptz USING coalesce(expires_at, created_at + {TTL})",
    ]
    statements = (
        "ALTER TABLE job_log_files RENAME COLUMN file_path TO storage_uri",
        f"ALTER TABLE job_log_files {', '.join(actions)}",
    )
    columns = [
        replace(column, name="storage_uri", type="text") if column.name == "file_path" else column
        for column in table.columns
    ]
    return statements, replace(
        table,
        columns=(*columns, *_SIZES),
        constraints=tuple(one for one in table.constraints if one not in keys),
    )


LOG_FILES_V1 = OlderShape(
    table="job_log_files",
    name="log files v1",
    becomes="each row gets an id, its path becomes a URI, and a missing expiry is 168 hours after "
    "its creation",
    columns=frozenset({"job_id", "file_path", "created_at", "expires_at"}),
    convert=convert_log_files,
    reading={
        "id": "gen_random_uuid()",
        "storage_uri": "file_path",
        "size_bytes": "0::bigint",
        "entry_count": "0",
    },
)


def _stub_jobs(table: str, since: str) -> str:
    """Jobs for the rows of this table that point at none: final, and never to be retried."""
    return f"""
        INSERT INTO jobs (id, spec, state, attempts, max_attempts, created_at, completed_at,
                          error_message, metadata)
        SELECT job_id, '{{}}', 'CANCELLED', 0, 0, coalesce(min({since}), now()), now(),
               'This job was gone when the database was adopted; rows of {table} were not.',
               jsonb_build_object('_repaired', jsonb_build_object('stub', true))
          FROM {table} WHERE {_without_job(table)} GROUP BY job_id
    """


def _without_job(table: str) -> str:
    return f"NOT EXISTS (SELECT FROM jobs WHERE jobs.id = {table}.job_id)"


# As Python's PurePath.as_uri() writes it: everything but unreserved letters as the percent-encoded
# bytes of UTF-8. A relative path stays relative: nobody knows what to.
ENCODED_PATH = """
    (SELECT coalesce(string_agg(
                CASE WHEN letter COLLATE "C" ~ '[A-Za-z0-9_.~/-]' THEN letter
                     ELSE regexp_replace(upper(encode(convert_to(letter, 'UTF8'), 'hex')),
                                         '(..)', '%\\1', 'g') END, '' ORDER BY place), '')
       FROM regexp_split_to_table(storage_uri, '') WITH ORDINALITY AS split (letter, place))
"""

WITHOUT_URI = f"storage_uri !~ '{URI}'"

MAKE_URIS = f"""
    UPDATE job_log_files
       SET storage_uri = CASE WHEN storage_uri LIKE '/%' THEN 'file://' ELSE 'file:' END
                         || {ENCODED_PATH}
     WHERE {WITHOUT_URI}
"""

LET_EXPIRE = f"""
    UPDATE job_log_files SET expires_at = coalesce(created_at, now()) + {TTL}
     WHERE expires_at IS NULL
"""

# The newest of a job's files is its row; by time, then by name.
OLDER_FILES = """
    id IN (SELECT id FROM (
        SELECT id, row_number() OVER (PARTITION BY job_id ORDER BY created_at DESC NULLS LAST,
                                      storage_uri DESC, id) AS place
          FROM job_log_files) AS ranked WHERE place > 1)
"""

KEEP_OLDER_FILES = f"""
    UPDATE jobs SET metadata = {kept("jobs.metadata", "log_files", "older.files")}
      FROM (SELECT job_id, jsonb_agg(jsonb_build_object(
                       'storage_uri', storage_uri, 'size_bytes', size_bytes,
                       'entry_count', entry_count, 'created_at', created_at,
                       'expires_at', expires_at)
                   ORDER BY created_at DESC NULLS LAST, storage_uri DESC) AS files
              FROM job_log_files WHERE {OLDER_FILES} GROUP BY job_id) AS older
     WHERE older.job_id = jobs.id
"""

JOB_STATES = (
    "state IN ('CREATED', 'PENDING', 'ASSIGNED', 'SCHEDULED', 'RUNNING', 'SUCCEEDED', 'FAILED', "
    "'CANCELLED', 'TIMEOUT', 'MANUAL_INTERVENTION_REQUIRED')"
)
WORKER_STATES = (
    "state IN ('CREATING', 'CONNECTING', 'REGISTERED', 'READY', 'BUSY', 'DRAINING', "
    "'TERMINATING', 'TERMINATED', 'FAILED')"
)
PROVIDER_TYPES = (
    "provider_type IN ('docker', 'kubernetes', 'firecracker', 'fargate', 'cloudrun', "
    "'containerapps', 'lambda', 'cloudfunctions', 'azurefunctions', 'ec2', 'computeengine', "
    "'azurevms', 'test', 'baremetal', 'process') OR provider_type ~ '^custom:.+$'"
)
PROVIDER_STATUSES = (
    "status IN ('ACTIVE', 'INACTIVE', 'MAINTENANCE', 'DISABLED', 'OVERLOADED', 'UNHEALTHY', "
    "'DEGRADED', 'ERROR')"
)

# What sqlx writes: nanoseconds, -1 while it did not know, and a SHA-384 of the file.
SQLX = """
    SELECT version || '_' || replace(description, ' ', '_') AS name, installed_on AS started_at,
           success, CASE WHEN execution_time >= 0 THEN execution_time / 1000000 END AS duration_ms,
           'sha384:' || encode(checksum, 'hex') AS checksum
      FROM {table} ORDER BY version
"""
SQLX_COLUMNS = {
    "version": "bigint",
    "description": "text",
    "installed_on": "timestamp with time zone",
    "success": "boolean",
    "checksum": "bytea",
    "execution_time": "bigint",
}
# The home-made table of later releases, whose reader took the duration for milliseconds.
HOME_MADE = ForeignHistory(
    table="__sqlx_migrations",
    columns={
        "version": "bigint",
        "description": "character varying(255)",
        "installed_on": "timestamp with time zone",
        "success": "boolean",
        "checksum": "character varying(255)",
        "execution_time": "bigint",
    },
    rows="""
        SELECT concat_ws('_', version, replace(description, ' ', '_')) AS name,
               installed_on AS started_at, success, execution_time AS duration_ms, checksum
          FROM __sqlx_migrations ORDER BY version
    """,
)

ADOPTION = Adoption(
    older_shapes=(LOG_FILES_V1,),
    rows=(
        RowRepair(
            table="job_queue",
            found="belong to a job that is gone",
            becomes="a job is added for each, CANCELLED and marked as a stub",
            where=_without_job("job_queue"),
            statements=(_stub_jobs("job_queue", "enqueued_at"),),
            covers=frozenset({"job_queue.job_queue_job_id_fkey"}),
        ),
        RowRepair(
            table="job_log_files",
            found="belong to a job that is gone",
            becomes="a job is added for each, CANCELLED and marked as a stub",
            where=_without_job("job_log_files"),
            statements=(_stub_jobs("job_log_files", "created_at"),),
            covers=frozenset({"job_log_files.job_log_files_job_id_fkey"}),
        ),
        RowRepair(
            table="job_log_files",
            found="do not say when they expire",
            becomes="168 hours after their creation, the original's default",
            where="expires_at IS NULL",
            statements=(LET_EXPIRE,),
            covers=frozenset({"job_log_files.expires_at"}),
        ),
        RowRepair(
            table="job_log_files",
            found="have a path where a URI is expected",
            becomes="it becomes a file: URI",
            where=WITHOUT_URI,
            statements=(MAKE_URIS,),
        ),
        RowRepair(
            table="job_log_files",
            found="stand beside a newer one of the same job",
            becomes="they are kept in the job's metadata, under _repaired and log_files",
            where=OLDER_FILES,
            statements=(KEEP_OLDER_FILES, f"DELETE FROM job_log_files WHERE {OLDER_FILES}"),
            covers=frozenset({"job_log_files.uq_job_log_files_job_id"}),
        ),
    ),
    relaxed={
        "jobs.jobs_state_check": JOB_STATES,
        "workers.workers_state_check": WORKER_STATES,
        "workers.workers_provider_type_check": PROVIDER_TYPES,
        "provider_configs.provider_configs_provider_type_check": PROVIDER_TYPES,
        "provider_configs.provider_configs_status_check": PROVIDER_STATUSES,
    },
    obsolete_indexes={
        # A file of the original that was applied by hand, for its reconciliation.
        "workers": frozenset(
            {"(last_heartbeat, state)", "(state, last_heartbeat)", "(state, updated_at)"}
        ),
        # The table as it was brought back in January 2026.
        "worker_bootstrap_tokens": frozenset({"(worker_id)", "(expires_at)", "(consumed_at)"}),
    },
    histories=(
        *(
            ForeignHistory(table=name, columns=SQLX_COLUMNS, rows=SQLX.format(table=name))
            for name in ("_sqlx_migrations", "__sqlx_migrations")
        ),
        HOME_MADE,
    ),
)
