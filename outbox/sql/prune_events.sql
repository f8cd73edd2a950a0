-- Delete events that were published long ago, from a time on in the order of their publishing: what
-- an earlier batch has deleted is not read again. Never one that is held, or that a dead letter is
-- open of. Locks: the rows, unless somebody has them. Index: outbox_events_published_idx.
WITH gone AS (
    DELETE FROM outbox_events
     WHERE ctid = ANY(ARRAY(
               SELECT e.ctid FROM outbox_events AS e
                WHERE e.status = 'PUBLISHED' AND e.published_at >= %(since)s::timestamptz
                  AND e.published_at < %(before)s::timestamptz AND NOT e.held
                  AND NOT EXISTS (SELECT FROM outbox_dlq AS d
                                   WHERE d.original_event_id = e.id AND d.resolved_at IS NULL)
                ORDER BY e.published_at
                LIMIT %(batch)s
                  FOR UPDATE OF e SKIP LOCKED))
    RETURNING published_at
)
SELECT count(*), max(published_at)::text, count(*) FROM gone
