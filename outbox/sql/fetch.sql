-- The oldest events of each lane that may be sent, in the order of the lanes and of each, and what
-- their aggregates stumbled over. Index: outbox_events_pending_idx, once for each lane, and
-- outbox_keys_aggregate_key, once for each event: the LIMITs leave the planner no join that would
-- lose the order. No lock, and no write. A time that no clock of ours can show is the next one that
-- it can: infinity, and what lies before the first year or behind the last.
SELECT e.id, e.seq, e.event_type, e.event_version, e.aggregate_type, e.aggregate_id,
       coalesce(e.aggregate_key, e.aggregate_id::text) AS subject, e.payload::text,
       e.metadata::text, e.idempotency_key,
       least(greatest(e.created_at, '0001-01-03 00:00+00'), '9999-12-29 00:00+00') AS created_at,
       e.lane, e.retry_count,
       e.attempts_started - e.attempts_finished AS crashes, k.id AS key_id, k.event_id AS head_id
  FROM unnest(%(lanes)s::smallint[]) AS mine (lane)
 CROSS JOIN LATERAL (
       SELECT * FROM outbox_events
        WHERE destination = %(destination)s AND lane = mine.lane
          AND status = 'PENDING' AND NOT held
        ORDER BY seq
        LIMIT %(per_lane)s
       ) AS e
  LEFT JOIN LATERAL (
       SELECT id, event_id FROM outbox_keys
        WHERE destination = %(destination)s
          AND aggregate_type = e.aggregate_type AND aggregate_id = e.aggregate_id
        LIMIT 1
       ) AS k ON true
 LIMIT %(most)s
