-- The same events, in their old places and with all their attempts; made again from the letters
-- where their rows are gone. What lies behind another event is put aside by its relay.
INSERT INTO outbox_events AS e (id, aggregate_id, aggregate_type, event_type, event_version, payload,
                                metadata, idempotency_key, created_at, seq, aggregate_key,
                                destination)
SELECT original_event_id, aggregate_id, aggregate_type, event_type, event_version, payload,
       metadata, idempotency_key, original_created_at,
       coalesce(seq, nextval('outbox_events_seq_seq')), aggregate_key, destination
  FROM outbox_dlq
 WHERE id = ANY(%(ids)s::uuid[])
 ORDER BY seq, original_created_at
    ON CONFLICT (id) DO UPDATE
   SET status = 'PENDING', held = false, retry_count = 0, next_attempt_at = NULL,
       last_error = NULL, error_class = NULL, fingerprint = NULL,
       attempts_started = e.attempts_finished
 WHERE e.status <> 'PUBLISHED'
