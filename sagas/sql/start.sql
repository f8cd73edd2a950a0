-- Store one saga and its steps. With a key, a live saga that has it is returned instead.
-- In the caller's transaction; wakes a runner that sleeps.
WITH stored AS (
    INSERT INTO sagas (id, saga_type, state, correlation_id, actor, metadata, definition_version,
                       steps_hash, business_key, deadline_at, trace_parent, started_at, created_at,
                       updated_at, due_at)
    VALUES (%(id)s::uuid, %(kind)s, 'PENDING', %(correlation_id)s, %(actor)s, %(input)s::jsonb,
            %(version)s, %(hash)s, %(key)s,
            statement_timestamp() + make_interval(secs => %(deadline)s::float8), %(trace_parent)s,
            statement_timestamp(), statement_timestamp(), statement_timestamp(),
            statement_timestamp())
        ON CONFLICT (saga_type, business_key)
           WHERE business_key IS NOT NULL AND state IN ('PENDING', 'IN_PROGRESS', 'COMPENSATING')
           DO NOTHING
    RETURNING id
), steps AS (
    INSERT INTO saga_steps (id, saga_id, step_name, step_order, state)
    SELECT t.id, stored.id, t.name, t.place - 1, 'PENDING'
      FROM stored, unnest(%(step_ids)s::uuid[], %(names)s::text[])
           WITH ORDINALITY AS t (id, name, place)
), told AS (
    INSERT INTO saga_audit_events (id, saga_id, event_type, message, payload, occurred_at)
    SELECT gen_random_uuid(), id, 'SAGA_STARTED', %(message)s, %(payload)s::jsonb,
           statement_timestamp()
      FROM stored
)
SELECT id, true AS is_new,
       CASE WHEN pg_try_advisory_lock_shared(%(gate)s, %(place)s)
            THEN pg_advisory_unlock_shared(%(gate)s, %(place)s)::text
            ELSE pg_notify(%(channel)s, '')::text END AS woken
  FROM stored
