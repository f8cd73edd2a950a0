-- Let go what waits behind these aggregates. Index: outbox_events_held_idx.
UPDATE outbox_events AS e
   SET held = false
  FROM unnest(%(types)s::text[], %(aggregates)s::uuid[]) AS k (type, id)
 WHERE e.held AND e.aggregate_id = k.id AND e.aggregate_type = k.type
   AND e.destination = %(destination)s AND e.status = 'PENDING'
