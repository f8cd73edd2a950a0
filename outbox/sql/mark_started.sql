-- Before events are sent in a lane whose last owner died: if sending one of them kills this process
-- too, what is marked tells which it may have been.
UPDATE outbox_events AS e
   SET attempts_started = e.attempts_started + 1
  FROM unnest(%(ids)s::uuid[]) AS going (id)
 WHERE e.id = going.id AND e.status = 'PENDING'
   AND e.lane IN (SELECT l.lane FROM outbox_lanes AS l
                    JOIN unnest(%(lanes)s::smallint[], %(fences)s::bigint[]) AS held (lane, fence)
                      ON l.lane = held.lane AND l.fence = held.fence
                   WHERE l.destination = %(destination)s)
