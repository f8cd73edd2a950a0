-- Every lane of every destination that is known or has anything: who has leased it, and the event
-- that is next in it. Index: outbox_events_pending_idx, from one destination to the next, and once
-- for each lane.
WITH RECURSIVE waiting AS (
    (SELECT destination FROM outbox_events WHERE status = 'PENDING' AND NOT held
      ORDER BY destination LIMIT 1)
    UNION ALL
    SELECT (SELECT e.destination FROM outbox_events AS e
             WHERE e.status = 'PENDING' AND NOT e.held AND e.destination > w.destination
             ORDER BY e.destination LIMIT 1)
      FROM waiting AS w WHERE w.destination IS NOT NULL
), destinations AS (
    SELECT name FROM unnest(%(known)s::text[]) AS k (name)
     UNION SELECT destination FROM outbox_lanes
     UNION SELECT destination FROM waiting WHERE destination IS NOT NULL
)
SELECT d.name, n.lane, CASE WHEN l.leased_until > statement_timestamp() THEN l.owner END,
       extract(epoch FROM statement_timestamp() - head.created_at)::float8
  FROM destinations AS d
 CROSS JOIN generate_series(0, 63) AS n (lane)
  LEFT JOIN outbox_lanes AS l ON l.destination = d.name AND l.lane = n.lane
  LEFT JOIN LATERAL (SELECT e.created_at FROM outbox_events AS e
                      WHERE e.destination = d.name AND e.lane = n.lane
                        AND e.status = 'PENDING' AND NOT e.held
                      ORDER BY e.seq LIMIT 1) AS head ON true
 ORDER BY d.name, n.lane
