"""The function that stores a job and its place: its statements are planned once in a session, where
those of Django's connections are planned each time.

The numbers and the channel are those of ``jobs.wakeup``: a worker that sleeps on the queue is woken.
"""

from __future__ import annotations

from django.db import migrations

ENQUEUE = """
CREATE FUNCTION jobs_enqueue(
    INOUT id uuid, spec jsonb, name text, queue text, priority int, run_after timestamptz,
    timeout interval, max_attempts int, correlation_id text, idempotency_key text,
    trace_parent text, metadata jsonb, orchestrated boolean,
    OUT is_new boolean, OUT stored_at timestamptz
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    key text := idempotency_key;
    gate int := hashtext(queue);
BEGIN
    INSERT INTO jobs (id, spec, state, name, queue, priority, run_after, timeout, max_attempts,
                      correlation_id, idempotency_key, trace_parent, metadata, orchestrated)
    VALUES (id, spec, 'PENDING', name, queue, priority, run_after, timeout, max_attempts,
            correlation_id, idempotency_key, trace_parent, metadata, orchestrated)
        ON CONFLICT (idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
    RETURNING created_at INTO stored_at;
    is_new := FOUND;
    IF NOT is_new THEN
        -- Also one that was committed while this waited for it.
        SELECT j.id, j.created_at INTO id, stored_at FROM jobs AS j WHERE j.idempotency_key = key;
    ELSIF orchestrated THEN
        NULL;
    ELSIF run_after > clock_timestamp() THEN
        INSERT INTO job_queue_deferred (job_id, run_after, queue, priority)
        VALUES (id, run_after, queue, priority);
    ELSE
        INSERT INTO job_queue (job_id, queue, priority) VALUES (id, queue, priority);
        IF NOT pg_try_advisory_lock_shared(1785684481, gate) THEN
            PERFORM pg_notify('hodei_jobs', '');
        ELSE
            PERFORM pg_advisory_unlock_shared(1785684481, gate);
        END IF;
    END IF;
END
$$;
COMMENT ON FUNCTION jobs_enqueue IS
    'Stores a job and its place and wakes a worker; gives the first job where its key is known';
"""


class Migration(migrations.Migration):
    dependencies = [("jobs", "0023_decisions")]

    operations = [migrations.RunSQL(ENQUEUE, "DROP FUNCTION jobs_enqueue;")]
