"""Repair what the original could leave. Every rule is in docs/reference/repairs.md.

Repairs are not undone on the way back: what they write is legal in the baseline too, but for the
provider stubs, which are DISABLED.
"""

from __future__ import annotations

from django.db import migrations

from hodei.schema.repair import kept, walk


def repair(apps, schema_editor):
    connection = schema_editor.connection
    walk(
        connection,
        "workers",
        change="""
            created_at = coalesce(created_at, updated_at, last_heartbeat, now()),
            updated_at = coalesce(updated_at, last_heartbeat, created_at, now())
        """,
        where="created_at IS NULL OR updated_at IS NULL",
    )
    # A clear token that was handed out has no hash to compare with: it lets nobody in any more.
    walk(
        connection,
        "worker_bootstrap_tokens",
        change="""
            created_at = coalesce(created_at, consumed_at, expires_at - interval '300 seconds'),
            expires_at = CASE WHEN consumed_at IS NULL AND secret_hash IS NULL
                              THEN least(expires_at, now()) ELSE expires_at END
        """,
        where="""
            created_at IS NULL
            OR (consumed_at IS NULL AND secret_hash IS NULL AND expires_at > now())
        """,
        key="token",
    )
    with connection.cursor() as cursor:
        cursor.execute(ADD_STUB_PROVIDERS)
    walk(
        connection,
        "jobs",
        change=f"""
            metadata = {kept("metadata", "selected_provider_id", "selected_provider_id")},
            selected_provider_id = NULL
        """,
        where="""
            selected_provider_id IS NOT NULL AND NOT EXISTS (
                SELECT FROM provider_configs p WHERE p.id = selected_provider_id)
        """,
    )
    walk(
        connection,
        "workers",
        change=f"""
            handle = {kept("handle", "current_job_id", "current_job_id")},
            current_job_id = NULL
        """,
        where="""
            current_job_id IS NOT NULL AND NOT EXISTS (
                SELECT FROM jobs j WHERE j.id = current_job_id)
        """,
    )
    walk(
        connection,
        "jobs",
        change="correlation_id = metadata ->> 'correlation_id'",
        where="""
            correlation_id IS NULL AND jsonb_typeof(metadata -> 'correlation_id') = 'string'
            AND length(metadata ->> 'correlation_id') BETWEEN 1 AND 255
        """,
    )
    # The original's cleaning could not read an infinite time, and neither can Python.
    walk(
        connection,
        "job_log_files",
        change="expires_at = timestamptz '9999-12-31 00:00:00+00'",
        where="expires_at = 'infinity'",
    )
    walk(
        connection,
        "jobs",
        change=f"metadata = {kept('metadata', 'queue_entry', QUEUE_ENTRY)}",
        where="""
            state <> 'PENDING' AND EXISTS (SELECT FROM job_queue q WHERE q.job_id = jobs.id)
        """,
    )
    with connection.cursor() as cursor:
        cursor.execute(REMOVE_STALE_ENTRIES)
        cursor.execute(QUEUE_LOST_JOBS)


# Somebody made these workers, and only the provider's name is lost.
ADD_STUB_PROVIDERS = """
INSERT INTO provider_configs (id, name, provider_type, status, metadata)
SELECT DISTINCT ON (provider_id) provider_id, 'orphan-' || provider_id, left(provider_type, 50),
       'DISABLED', jsonb_build_object('_repaired', jsonb_build_object('stub', true))
  FROM workers
 WHERE NOT EXISTS (SELECT FROM provider_configs p WHERE p.id = workers.provider_id)
 ORDER BY provider_id, created_at
ON CONFLICT DO NOTHING
"""

QUEUE_ENTRY = """(
    SELECT jsonb_build_object('enqueued_at', q.enqueued_at, 'priority', q.priority)
      FROM job_queue q WHERE q.job_id = jobs.id)"""

# The original left the place of a cancelled or failed job in the queue for ever.
REMOVE_STALE_ENTRIES = """
DELETE FROM job_queue USING jobs WHERE jobs.id = job_queue.job_id AND jobs.state <> 'PENDING'
"""

# Clearing the original's queue left its jobs PENDING, to be run by nobody.
QUEUE_LOST_JOBS = """
INSERT INTO job_queue (job_id, enqueued_at)
SELECT id, created_at FROM jobs
 WHERE state = 'PENDING' AND run_after IS NULL
   AND NOT EXISTS (SELECT FROM job_queue q WHERE q.job_id = jobs.id)
 ORDER BY created_at, id
ON CONFLICT DO NOTHING
"""


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("jobs", "0005_require")]

    operations = [migrations.RunPython(repair, migrations.RunPython.noop)]
