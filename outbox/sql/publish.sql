-- Store one event when its aggregate's turn has come, and wake the relay of its lane if it sleeps.
-- Locks: the lane shared and the aggregate alone, until the transaction ends (Note [Turns]).
-- The locks are taken before the row, and its number with it, is made.
WITH turn AS MATERIALIZED (
    SELECT pg_advisory_xact_lock_shared(%(turn)s, %(lane)s),
           pg_advisory_xact_lock(hashtextextended(%(aggregate_type)s || ':' || %(aggregate_id)s, 0))
), stored AS (
    INSERT INTO outbox_events (id, aggregate_id, aggregate_type, event_type, event_version, payload,
                               metadata, idempotency_key, aggregate_key, destination)
    SELECT %(id)s::uuid, %(aggregate_id)s::uuid, %(aggregate_type)s, %(event_type)s,
           %(event_version)s, %(payload)s::jsonb, %(metadata)s::jsonb, %(idempotency_key)s,
           %(aggregate_key)s, %(destination)s
      FROM turn
        ON CONFLICT (idempotency_key) DO NOTHING
    RETURNING lane
)
SELECT CASE WHEN pg_try_advisory_lock_shared(%(gate)s, lane)
            THEN pg_advisory_unlock_shared(%(gate)s, lane)::text
            ELSE pg_notify(%(channel)s, '')::text END
  FROM stored
