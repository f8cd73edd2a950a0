-- Rejected: the event waits for its time, and its aggregate behind it.
WITH failed AS (
    SELECT * FROM unnest(%(ids)s::uuid[], %(seconds)s::float8[], %(errors)s::text[],
                         %(classes)s::text[], %(fingerprints)s::text[])
                  AS f (id, seconds, error, class, fingerprint)
), waiting AS (
    UPDATE outbox_events AS e
       SET retry_count = e.retry_count + 1, held = true, last_error = failed.error,
           next_attempt_at = clock_timestamp() + failed.seconds * interval '1 second',
           error_class = failed.class, fingerprint = failed.fingerprint,
           attempts_started = greatest(e.attempts_started, e.attempts_finished + 1),
           attempts_finished = greatest(e.attempts_started, e.attempts_finished + 1)
      FROM failed
     WHERE e.id = failed.id AND e.status = 'PENDING'
    RETURNING e.destination, e.lane, e.aggregate_type, e.aggregate_id, e.id, e.next_attempt_at
)
INSERT INTO outbox_keys AS k (destination, lane, aggregate_type, aggregate_id, state, event_id,
                              retry_at)
SELECT destination, lane, aggregate_type, aggregate_id, 'BACKOFF', id, next_attempt_at FROM waiting
    ON CONFLICT (destination, aggregate_type, aggregate_id) DO UPDATE
   SET state = 'BACKOFF', event_id = excluded.event_id, retry_at = excluded.retry_at,
       dead_letter_id = NULL
