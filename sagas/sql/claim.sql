-- Lease due sagas: what turned back first, then what is under way, then new ones, which begin with
-- it. The parameters kinds, versions and hashes are what this runner knows; room is how many of a
-- kind may begin. A crashed runner's sagas are due again when their lease ends, and have lost one
-- more then. Those that have lost several in a row are handed out by themselves, as many as the
-- parameter suspects says. Indexes: sagas_live_idx, sagas_suspect_idx.
WITH wanted AS (
    SELECT kind, version, hash, room, place
      FROM unnest(%(kinds)s::text[], %(versions)s::int[], %(hashes)s::text[], %(rooms)s::int[])
           WITH ORDINALITY AS w (kind, version, hash, room, place)
), suspect AS MATERIALIZED (
    SELECT s.id
      FROM sagas AS s
      JOIN wanted AS w ON w.kind = s.saga_type AND w.version = s.definition_version
                      AND w.hash = s.steps_hash
     WHERE s.lost_leases > 1 AND s.state IN ('IN_PROGRESS', 'COMPENSATING')
       AND s.due_at <= statement_timestamp()
     ORDER BY s.due_at
     LIMIT %(suspects)s
       FOR NO KEY UPDATE OF s SKIP LOCKED
), due AS MATERIALIZED (
    SELECT id FROM suspect
     UNION ALL
    SELECT s.id
      FROM (VALUES (1, 'COMPENSATING'), (2, 'IN_PROGRESS'), (3, 'PENDING')) AS t (turn, state)
     CROSS JOIN wanted AS w
     CROSS JOIN LATERAL (
        SELECT id FROM sagas
         WHERE saga_type = w.kind AND definition_version = w.version
           AND steps_hash = w.hash AND state = t.state
           AND state IN ('PENDING', 'IN_PROGRESS', 'COMPENSATING')
           AND due_at <= statement_timestamp() AND lost_leases <= 1
         ORDER BY due_at
         LIMIT CASE t.state WHEN 'PENDING' THEN least(w.room, %(number)s) ELSE %(number)s END
           FOR NO KEY UPDATE SKIP LOCKED
     ) AS s
     LIMIT %(number)s
)
UPDATE sagas AS s
   SET state = CASE s.state WHEN 'PENDING' THEN 'IN_PROGRESS' ELSE s.state END,
       lease_owner = %(owner)s,
       lease_epoch = s.lease_epoch + 1,
       lost_leases = s.lost_leases + (s.lease_owner IS NOT NULL)::int,
       lease_until = clock_timestamp() + make_interval(secs => %(seconds)s),
       due_at = clock_timestamp() + make_interval(secs => %(seconds)s),
       updated_at = clock_timestamp()
  FROM due
 WHERE s.id = due.id
RETURNING s.id, s.saga_type, s.definition_version, s.state, (coalesce(s.metadata, '{}'::jsonb) - '_repaired')::text,
          s.lease_epoch, s.correlation_id, s.actor, s.error_message, s.incident, s.deadline_at,
          s.pause_requested_at, s.cancel_requested_at, s.lost_leases, clock_timestamp()
