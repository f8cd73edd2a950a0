-- Prolong the leases that are still ours, by their fences; what does not return is lost.
UPDATE outbox_lanes AS l
   SET leased_until = clock_timestamp() + %(seconds)s * interval '1 second'
  FROM unnest(%(lanes)s::smallint[], %(fences)s::bigint[]) AS mine (lane, fence)
 WHERE l.destination = %(destination)s AND l.lane = mine.lane AND l.fence = mine.fence
RETURNING l.lane
