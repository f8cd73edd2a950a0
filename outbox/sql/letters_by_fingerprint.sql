-- The newest open dead letters by the remedy they need, the largest groups first, each with its
-- newest one. Index: idx_dlq_status.
WITH newest AS MATERIALIZED (
    SELECT id, fingerprint, moved_at FROM outbox_dlq
     WHERE resolved_at IS NULL ORDER BY moved_at DESC LIMIT %(grouped)s
), grouped AS (
    SELECT fingerprint, count(*) AS number, min(moved_at) AS first_at, max(moved_at) AS last_at,
           (array_agg(id ORDER BY moved_at DESC))[1] AS id
      FROM newest GROUP BY fingerprint
     ORDER BY number DESC, fingerprint LIMIT %(groups)s
)
SELECT g.fingerprint, g.number, g.first_at, g.last_at, d.id, d.error_class, d.event_type,
       d.destination, d.error_message
  FROM grouped AS g JOIN outbox_dlq AS d ON d.id = g.id
 ORDER BY g.number DESC, g.fingerprint
