-- Delete what consumers have seen long ago, in the order in which it came. Locks: the rows, unless
-- somebody has them. Index: outbox_inbox_received_idx.
WITH gone AS (
    DELETE FROM outbox_inbox
     WHERE ctid = ANY(ARRAY(
               SELECT ctid FROM outbox_inbox
                WHERE received_at >= %(since)s::timestamptz
                  AND received_at < %(before)s::timestamptz
                ORDER BY received_at
                LIMIT %(batch)s
                  FOR UPDATE SKIP LOCKED))
    RETURNING received_at
)
SELECT count(*), max(received_at)::text, count(*) FROM gone
