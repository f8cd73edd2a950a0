-- Those of these lanes that are still ours; nobody takes them over until the transaction ends.
-- Locks them in their order: the thread that renews the leases has more of them.
SELECT l.lane FROM outbox_lanes AS l
  JOIN unnest(%(lanes)s::smallint[], %(fences)s::bigint[]) AS held (lane, fence)
    ON l.lane = held.lane AND l.fence = held.fence
 WHERE l.destination = %(destination)s
 ORDER BY l.lane
   FOR NO KEY UPDATE OF l
