-- The same for a caller who holds the aggregate's row, so that its turn has come already.
INSERT INTO outbox_events (id, aggregate_id, aggregate_type, event_type, event_version, payload,
                           metadata, idempotency_key, aggregate_key, destination)
VALUES (%(id)s::uuid, %(aggregate_id)s::uuid, %(aggregate_type)s, %(event_type)s,
        %(event_version)s, %(payload)s::jsonb, %(metadata)s::jsonb, %(idempotency_key)s,
        %(aggregate_key)s, %(destination)s)
    ON CONFLICT (idempotency_key) DO NOTHING
RETURNING CASE WHEN pg_try_advisory_lock_shared(%(gate)s, lane)
               THEN pg_advisory_unlock_shared(%(gate)s, lane)::text
               ELSE pg_notify(%(channel)s, '')::text END
