-- Give leases back: anybody may take them at once. Locks: the lanes in their order, as whoever renews
-- them.
UPDATE outbox_lanes AS l
   SET owner = NULL, leased_until = NULL
  FROM (
    SELECT l.id FROM outbox_lanes AS l
      JOIN unnest(%(lanes)s::smallint[], %(fences)s::bigint[]) AS held (lane, fence)
        ON l.lane = held.lane AND l.fence = held.fence
     WHERE l.destination = %(destination)s
     ORDER BY l.lane
       FOR NO KEY UPDATE OF l
  ) AS mine
 WHERE l.id = mine.id
