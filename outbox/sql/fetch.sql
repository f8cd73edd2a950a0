-- The oldest events of each lane that may be sent, and what their aggregates stumbled over.
-- Index: outbox_events_pending_idx, once for each lane. No lock, and no write.
SELECT e.id, e.seq, e.event_type, e.event_version, e.aggregate_type, e.aggregate_id,
       e.aggregate_key, e.payload::text, e.metadata::text, e.idempotency_key, e.created_at, e.lane,
       e.retry_count, e.attempts_started - e.attempts_finished AS crashes,
       k.id AS key_id, k.event_id AS head_id
  FROM unnest(%(lanes)s::smallint[]) AS mine (lane)
 CROSS JOIN LATERAL (
       SELECT * FROM outbox_events
        WHERE destination = %(destination)s AND lane = mine.lane
          AND status = 'PENDING' AND NOT held
        ORDER BY seq
        LIMIT %(per_lane)s
       ) AS e
  LEFT JOIN outbox_keys AS k
    ON k.destination = %(destination)s
   AND k.aggregate_type = e.aggregate_type AND k.aggregate_id = e.aggregate_id
