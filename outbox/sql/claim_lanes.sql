-- Lease free lanes of a destination; a fence grows with every lease. ``left_open`` tells that the
-- last owner did not give its lease back, so it died in the middle of something, or hangs.
WITH free AS (
    SELECT id, owner FROM outbox_lanes
     WHERE destination = %(destination)s
       AND (leased_until IS NULL OR leased_until < clock_timestamp())
     ORDER BY leased_until NULLS FIRST, lane
     LIMIT %(number)s
       FOR UPDATE SKIP LOCKED
)
UPDATE outbox_lanes AS l
   SET owner = %(owner)s, fence = l.fence + 1,
       leased_until = clock_timestamp() + %(seconds)s * interval '1 second'
  FROM free
 WHERE l.id = free.id
RETURNING l.lane, l.fence, free.owner IS NOT NULL AS left_open
