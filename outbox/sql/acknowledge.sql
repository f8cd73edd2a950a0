-- Write down what was delivered, of the lanes that are still ours: the lock on their rows keeps
-- anybody from taking them over until this is committed. A zombie, whose fences are old, writes
-- nothing. Locks: the lanes in their order, as whoever renews them, and then the events.
-- Index: outbox_events_pkey.
WITH mine AS MATERIALIZED (
    SELECT l.lane FROM outbox_lanes AS l
      JOIN unnest(%(lanes)s::smallint[], %(fences)s::bigint[]) AS held (lane, fence)
        ON l.lane = held.lane AND l.fence = held.fence
     WHERE l.destination = %(destination)s
     ORDER BY l.lane
       FOR NO KEY UPDATE OF l
), done AS (
    UPDATE outbox_events AS e
       SET status = 'PUBLISHED', published_at = clock_timestamp(),
           attempts_started = greatest(e.attempts_started, e.attempts_finished + 1),
           attempts_finished = greatest(e.attempts_started, e.attempts_finished + 1)
     WHERE e.id = ANY(%(ids)b::uuid[]) AND e.status = 'PENDING'
       AND e.lane = ANY(ARRAY(SELECT lane FROM mine))
)
SELECT lane FROM mine
