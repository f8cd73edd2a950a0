-- Orchestrated jobs that run for longer than they may, and than their workers have to end them.
-- Indexes: jobs_orchestrated_idx, sagas_one_live_per_key.
SELECT j.id, j.correlation_id
  FROM jobs AS j
 WHERE j.orchestrated AND j.state = 'RUNNING' AND j.timeout IS NOT NULL
   AND j.started_at + j.timeout < clock_timestamp() - %(grace)s * interval '1 second'
   AND NOT EXISTS (
       SELECT FROM sagas AS s
        WHERE s.saga_type = 'TIMEOUT' AND s.business_key = j.id::text
          AND s.state IN ('PENDING', 'IN_PROGRESS', 'COMPENSATING'))
 LIMIT %(number)s
