-- Open dead letters, counted no further than a cap, and when the oldest of them died.
-- Index: idx_dlq_status, which holds the open ones alone.
SELECT (SELECT count(*) FROM (SELECT FROM outbox_dlq WHERE resolved_at IS NULL
                               LIMIT %(grouped)s + 1) AS counted),
       oldest.moved_at, extract(epoch FROM clock_timestamp() - oldest.moved_at)::float8
  FROM (SELECT min(moved_at) AS moved_at FROM outbox_dlq WHERE resolved_at IS NULL) AS oldest
