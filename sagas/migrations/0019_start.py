"""The function that stores a saga and its steps: its statements are planned once in a session, where
those of Django's connections are planned each time.

The numbers and the channel are those of ``sagas.wakeup``: a runner that sleeps is woken.
"""

from __future__ import annotations

from django.db import migrations

START = """
CREATE FUNCTION sagas_start(
    saga uuid, kind text, version int, hash text, input jsonb, key text, correlation_id text,
    actor text, trace_parent text, seconds float8, step_ids uuid[], names text[], message text,
    payload jsonb
) RETURNS boolean LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    at timestamptz := statement_timestamp();
BEGIN
    INSERT INTO sagas (id, saga_type, state, correlation_id, actor, metadata, definition_version,
                       steps_hash, business_key, deadline_at, trace_parent, started_at, created_at,
                       updated_at, due_at)
    VALUES (saga, kind, 'PENDING', correlation_id, actor, input, version, hash, key,
            at + make_interval(secs => seconds), trace_parent, at, at, at, at)
        ON CONFLICT (saga_type, business_key)
           WHERE business_key IS NOT NULL AND state IN ('PENDING', 'IN_PROGRESS', 'COMPENSATING')
           DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO saga_steps (id, saga_id, step_name, step_order, state)
    SELECT t.id, saga, t.name, t.place - 1, 'PENDING'
      FROM unnest(step_ids, names) WITH ORDINALITY AS t (id, name, place);
    INSERT INTO saga_audit_events (id, saga_id, event_type, message, payload, occurred_at)
    VALUES (gen_random_uuid(), saga, 'SAGA_STARTED', message, payload, at);
    IF NOT pg_try_advisory_lock_shared(1935763201, 0) THEN
        PERFORM pg_notify('hodei_sagas', '');
        RETURN true;
    END IF;
    RETURN pg_advisory_unlock_shared(1935763201, 0);
END
$$;
COMMENT ON FUNCTION sagas_start IS
    'Stores a saga and its steps and wakes a runner; false where a live one of its kind has its key';
"""


class Migration(migrations.Migration):
    dependencies = [("sagas", "0018_index_suspects")]

    operations = [migrations.RunSQL(START, "DROP FUNCTION sagas_start;")]
