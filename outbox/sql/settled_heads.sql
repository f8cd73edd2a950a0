-- The first events of aggregates that wait behind nothing any more: their relay died between
-- writing down the delivery and letting the others go.
SELECT k.event_id
  FROM outbox_keys AS k
  LEFT JOIN outbox_events AS e ON e.id = k.event_id AND e.status = 'PENDING'
 WHERE k.destination = %(destination)s AND k.lane = ANY(%(lanes)s::smallint[])
   AND k.state = 'BACKOFF' AND e.id IS NULL
