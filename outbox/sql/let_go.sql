-- Let go what waits behind these aggregates, at most so many: a statement may have a time limit, and
-- there may be any number of them. Index: outbox_events_held_idx.
UPDATE outbox_events
   SET held = false
 WHERE ctid = ANY(ARRAY(
           SELECT e.ctid
             FROM unnest(%(types)s::text[], %(aggregates)s::uuid[]) AS k (type, id)
             JOIN outbox_events AS e
               ON e.held AND e.aggregate_id = k.id AND e.aggregate_type = k.type
              AND e.destination = %(destination)s AND e.status = 'PENDING'
            LIMIT %(most)s))
   AND held AND status = 'PENDING'
