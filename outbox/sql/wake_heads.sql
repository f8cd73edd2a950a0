-- The events whose retry time has come may be sent again; their aggregates still wait behind them.
-- Index: outbox_keys_due_idx, which takes no clock_timestamp(), and outbox_events_pkey.
WITH due AS (
    SELECT id, event_id FROM outbox_keys
     WHERE destination = %(destination)s AND lane = ANY(%(lanes)s::smallint[])
       AND state = 'BACKOFF' AND retry_at <= statement_timestamp()
     ORDER BY retry_at
     LIMIT 1000
       FOR UPDATE SKIP LOCKED
), told AS (
    UPDATE outbox_keys SET retry_at = NULL FROM due WHERE outbox_keys.id = due.id
)
UPDATE outbox_events SET held = false
 WHERE id = ANY(ARRAY(SELECT event_id FROM due)) AND held
