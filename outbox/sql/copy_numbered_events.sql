-- Store events that have their numbers already, in the order in which they are sent. A key that is
-- known is an error.
COPY outbox_events (id, aggregate_id, aggregate_type, event_type, event_version, payload, metadata,
                    idempotency_key, aggregate_key, destination, seq) FROM STDIN
