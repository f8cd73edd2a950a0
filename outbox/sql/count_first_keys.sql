-- Aggregates that are held back, by why, no more than a cap of them: those that have waited longest
-- are the first. Index: the primary key.
SELECT count(*) FILTER (WHERE state = 'PARKED'), count(*) FILTER (WHERE state = 'BACKOFF')
  FROM (SELECT state FROM outbox_keys ORDER BY id LIMIT %(cap)s + 1) AS first
