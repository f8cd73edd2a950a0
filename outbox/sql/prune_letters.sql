-- Delete dead letters that were dealt with long ago, in the order in which they died, with their
-- actions, and with their events unless these are on their way or were delivered. Never one that an
-- aggregate still waits behind. Locks: the letters and then their events, without ever
-- waiting: what somebody has stays as it is. Index: idx_dlq_moved_at.
WITH old AS (
    SELECT d.id, d.original_event_id, d.moved_at FROM outbox_dlq AS d
     WHERE d.moved_at >= %(since)s::timestamptz AND d.moved_at < %(before)s::timestamptz
       AND d.resolved_at < %(before)s::timestamptz
       AND NOT EXISTS (SELECT FROM outbox_keys AS k WHERE k.event_id = d.original_event_id)
       AND NOT EXISTS (SELECT FROM outbox_events AS e
                        WHERE e.id = d.original_event_id AND e.status = 'PENDING')
     ORDER BY d.moved_at
     LIMIT %(batch)s
       FOR UPDATE OF d SKIP LOCKED
), free AS MATERIALIZED (
    SELECT e.id FROM outbox_events AS e JOIN old ON e.id = old.original_event_id
     WHERE e.status = 'FAILED'
       FOR UPDATE OF e SKIP LOCKED
), letters AS (
    DELETE FROM outbox_dlq USING old
     WHERE outbox_dlq.id = old.id
       AND (old.original_event_id IN (SELECT id FROM free)
            OR NOT EXISTS (SELECT FROM outbox_events AS e
                            WHERE e.id = old.original_event_id AND e.status = 'FAILED'))
    RETURNING outbox_dlq.id
), events AS (
    DELETE FROM outbox_events USING free WHERE outbox_events.id = free.id
)
SELECT (SELECT count(*) FROM letters), max(moved_at)::text, count(*) FROM old
