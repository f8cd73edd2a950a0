-- Give leases back: anybody may take them at once.
UPDATE outbox_lanes AS l
   SET owner = NULL, leased_until = NULL
  FROM unnest(%(lanes)s::smallint[], %(fences)s::bigint[]) AS mine (lane, fence)
 WHERE l.destination = %(destination)s AND l.lane = mine.lane AND l.fence = mine.fence
