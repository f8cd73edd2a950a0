-- Events that were met behind a troubled aggregate. Only while its row is there: whoever lets the
-- aggregate go deletes the row first, and waits for whoever holds something back behind it. A row that
-- is being dealt with is not waited for, since letting many go takes its time: its events are met
-- again.
WITH troubled AS MATERIALIZED (
    SELECT destination, aggregate_type, aggregate_id, event_id FROM outbox_keys
     WHERE id = ANY(%(keys)s::bigint[]) FOR SHARE SKIP LOCKED
)
UPDATE outbox_events AS e
   SET held = true
  FROM troubled
 WHERE e.id = ANY(%(ids)s::uuid[]) AND e.status = 'PENDING' AND NOT e.held
   AND e.destination = troubled.destination AND e.aggregate_type = troubled.aggregate_type
   AND e.aggregate_id = troubled.aggregate_id AND e.id <> troubled.event_id
