-- Seconds until the next retry time of these lanes; NULL where nothing waits for one.
-- Index: outbox_keys_due_idx, its first row in each lane.
SELECT extract(epoch FROM min(first.retry_at) - clock_timestamp())::float8
  FROM unnest(%(lanes)s::smallint[]) AS mine (lane)
 CROSS JOIN LATERAL (
       SELECT retry_at FROM outbox_keys
        WHERE destination = %(destination)s AND lane = mine.lane
          AND retry_at IS NOT NULL AND state = 'BACKOFF'
        ORDER BY retry_at
        LIMIT 1
       ) AS first
