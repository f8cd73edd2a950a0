-- Store one event when its aggregate's turn has come, and wake the relay of its lane if it sleeps.
-- Locks: the lane shared and then the aggregate alone, until the transaction ends (Note [Turns]).
-- CASE takes them in this order, and before the event has its number. One flat INSERT, since the
-- server plans it anew each time.
INSERT INTO outbox_events (id, aggregate_id, aggregate_type, event_type, event_version, payload,
                           metadata, idempotency_key, aggregate_key, destination, seq)
VALUES (%(id)s::uuid, %(aggregate_id)s::uuid, %(aggregate_type)s, %(event_type)s,
        %(event_version)s, %(payload)s::jsonb, %(metadata)s::jsonb, %(idempotency_key)s,
        %(aggregate_key)s, %(destination)s,
        CASE WHEN pg_advisory_xact_lock_shared(%(turn)s, %(lane)s) IS NULL THEN NULL
             WHEN pg_advisory_xact_lock(hashtextextended(%(turn_of)s, 0)) IS NULL THEN NULL
             ELSE nextval('outbox_events_seq_seq') END)
    ON CONFLICT (idempotency_key) DO NOTHING
RETURNING CASE WHEN pg_try_advisory_lock_shared(%(gate)s, lane)
               THEN pg_advisory_unlock_shared(%(gate)s, lane)::text
               ELSE pg_notify(%(channel)s, '')::text END
