-- Given up: a dead letter with the whole event, in one statement with the event's own end. A second
-- death opens the same letter again, and each death is on record. Locks: letters of an earlier death
-- in the order of their events, and then the events, as whoever decides about letters.
WITH known AS MATERIALIZED (
    SELECT FROM outbox_dlq WHERE original_event_id = ANY(%(ids)s::uuid[])
     ORDER BY original_event_id
       FOR UPDATE
), failed AS (
    SELECT * FROM unnest(%(ids)s::uuid[], %(errors)s::text[], %(classes)s::text[],
                         %(fingerprints)s::text[]) AS f (id, error, class, fingerprint)
     WHERE (SELECT count(*) FROM known) >= 0
), dead AS (
    UPDATE outbox_events AS e
       SET status = 'FAILED', held = false, next_attempt_at = NULL,
           retry_count = e.retry_count + %(spent)s, last_error = failed.error,
           error_class = failed.class, fingerprint = failed.fingerprint,
           attempts_started = greatest(e.attempts_started, e.attempts_finished + 1),
           attempts_finished = greatest(e.attempts_started, e.attempts_finished + 1)
      FROM failed
     WHERE e.id = failed.id AND e.status = 'PENDING'
    RETURNING e.*
), letters AS (
    INSERT INTO outbox_dlq AS d (id, original_event_id, aggregate_id, aggregate_type, event_type,
                                 payload, metadata, error_message, retry_count, original_created_at,
                                 seq, event_version, idempotency_key, aggregate_key, destination,
                                 error_class, fingerprint)
    SELECT gen_random_uuid(), id, aggregate_id, aggregate_type, event_type, payload, metadata,
           last_error, retry_count, created_at, seq, event_version, idempotency_key, aggregate_key,
           destination, error_class, fingerprint
      FROM dead
        ON CONFLICT (original_event_id) DO UPDATE
       SET payload = excluded.payload, metadata = excluded.metadata,
           error_message = excluded.error_message, retry_count = excluded.retry_count,
           moved_at = clock_timestamp(), resolved_at = NULL, resolution_notes = NULL,
           resolved_by = NULL, seq = excluded.seq, destination = excluded.destination,
           error_class = excluded.error_class, fingerprint = excluded.fingerprint
    RETURNING d.id, d.original_event_id
), told AS (
    INSERT INTO outbox_dlq_actions (dlq_id, action, actor, note, details)
    SELECT letters.id, 'DIED', %(actor)s, dead.last_error,
           jsonb_build_object('class', dead.error_class, 'attempts', dead.retry_count)
      FROM letters JOIN dead ON dead.id = letters.original_event_id
)
SELECT dead.id, letters.id, dead.lane, dead.aggregate_type, dead.aggregate_id
  FROM letters JOIN dead ON dead.id = letters.original_event_id
