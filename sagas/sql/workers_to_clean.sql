-- Workers that have ended, and whose infrastructure nobody has destroyed. Not those that a CLEANUP is
-- at, or began within the last hour. Indexes: idx_workers_state, sagas_one_live_per_key,
-- idx_sagas_started_at.
SELECT w.id
  FROM workers AS w
 WHERE w.state IN ('TERMINATED', 'FAILED') AND w.provider_type = ANY(%(types)s)
   AND w.handle ? 'infrastructure' AND NOT w.handle ? 'destroyed'
   AND w.updated_at < clock_timestamp() - %(age)s * interval '1 second'
   AND NOT EXISTS (
       SELECT FROM sagas AS s
        WHERE s.saga_type = 'CLEANUP' AND s.business_key = w.id::text
          AND s.state IN ('PENDING', 'IN_PROGRESS', 'COMPENSATING'))
   AND NOT EXISTS (
       SELECT FROM sagas AS s
        WHERE s.saga_type = 'CLEANUP' AND s.business_key = w.id::text
          AND s.started_at > clock_timestamp() - interval '1 hour')
 LIMIT %(number)s
