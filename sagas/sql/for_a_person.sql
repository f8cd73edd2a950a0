-- Sagas that wait for a person, those that have done so longest first, and how many there are; of
-- each way to it no more than a cap is looked at. A live one either is not due by itself, or has a
-- deadline, and then the record of its incident leads to it. Indexes: sagas_live_idx, from one
-- version of a kind to the next; idx_saga_audit_type; idx_sagas_state.
\ir parts/live_kinds.sql
, resting AS (
    SELECT r.id
      FROM kinds AS k
     CROSS JOIN unnest(ARRAY['PENDING', 'IN_PROGRESS', 'COMPENSATING']) AS l (state)
     CROSS JOIN LATERAL (
           SELECT s.id FROM sagas AS s
            WHERE s.saga_type = k.saga_type AND s.definition_version = k.definition_version
              AND s.state = l.state AND s.state IN ('PENDING', 'IN_PROGRESS', 'COMPENSATING')
              AND s.due_at IS NULL
            ORDER BY s.due_at LIMIT %(cap)s) AS r
     UNION
    SELECT saga_id
      FROM (SELECT saga_id FROM saga_audit_events WHERE event_type = 'SAGA_WAITS_FOR_A_PERSON'
             ORDER BY occurred_at DESC LIMIT %(cap)s) AS told
), found AS (
    -- One by one: what is live is not read whole, however much of it rests.
    SELECT s.id, s.since
      FROM resting AS r
     CROSS JOIN LATERAL (
           SELECT id, updated_at AS since FROM sagas
            WHERE id = r.id AND incident IS NOT NULL
              AND state IN ('PENDING', 'IN_PROGRESS', 'COMPENSATING')
           OFFSET 0) AS s
     UNION ALL
    SELECT id, since
      FROM (SELECT id, coalesce(completed_at, updated_at) AS since FROM sagas
             WHERE state = 'FAILED' LIMIT %(cap)s + 1) AS failed
), first AS (
    SELECT id, since, count(*) OVER () AS number FROM found ORDER BY since, id LIMIT %(shown)s
)
SELECT f.id, s.saga_type, left(coalesce(s.incident, s.error_message, ''), 400), f.since, f.number
  FROM first AS f JOIN sagas AS s ON s.id = f.id
 ORDER BY f.since, f.id
