-- Events that were met behind a troubled aggregate. Only while its row is there: whoever lets the
-- aggregate go deletes the row first, so one of the two waits for the other and sees what it did.
WITH troubled AS MATERIALIZED (
    SELECT destination, aggregate_type, aggregate_id, event_id FROM outbox_keys
     WHERE id = ANY(%(keys)s::bigint[]) FOR SHARE
)
UPDATE outbox_events AS e
   SET held = true
  FROM troubled
 WHERE e.id = ANY(%(ids)s::uuid[]) AND e.status = 'PENDING' AND NOT e.held
   AND e.destination = troubled.destination AND e.aggregate_type = troubled.aggregate_type
   AND e.aggregate_id = troubled.aggregate_id AND e.id <> troubled.event_id
