-- Prolong the leases that are still ours, by their fences, and not one that was just given back: it
-- would be nobody's, and nobody could take it. What does not return is lost. Locks: the lanes in their
-- order, since the relay writes down what it has sent meanwhile.
UPDATE outbox_lanes AS l
   SET leased_until = clock_timestamp() + %(seconds)s * interval '1 second'
  FROM (
    SELECT l.id FROM outbox_lanes AS l
      JOIN unnest(%(lanes)s::smallint[], %(fences)s::bigint[]) AS held (lane, fence)
        ON l.lane = held.lane AND l.fence = held.fence
     WHERE l.destination = %(destination)s AND l.owner = %(owner)s
     ORDER BY l.lane
       FOR NO KEY UPDATE OF l
  ) AS mine
 WHERE l.id = mine.id
RETURNING l.lane
