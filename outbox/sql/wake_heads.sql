-- The events whose retry time has come may be sent again; their aggregates still wait behind them.
WITH due AS (
    SELECT id, event_id FROM outbox_keys
     WHERE destination = %(destination)s AND lane = ANY(%(lanes)s::smallint[])
       AND state = 'BACKOFF' AND retry_at <= clock_timestamp()
     ORDER BY retry_at
     LIMIT 1000
       FOR UPDATE SKIP LOCKED
), told AS (
    UPDATE outbox_keys SET retry_at = NULL FROM due WHERE outbox_keys.id = due.id
)
UPDATE outbox_events SET held = false
  FROM due
 WHERE outbox_events.id = due.event_id AND outbox_events.held
