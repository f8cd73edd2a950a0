-- Orchestrated jobs that wait, are due, and have no live EXECUTION, most urgent first.
-- Indexes: jobs_orchestrated_idx, sagas_one_live_per_key.
SELECT j.id, j.correlation_id
  FROM jobs AS j
 WHERE j.orchestrated AND j.state = 'PENDING'
   AND (j.run_after IS NULL OR j.run_after <= clock_timestamp())
   AND NOT EXISTS (
       SELECT FROM sagas AS s
        WHERE s.saga_type = 'EXECUTION' AND s.business_key = j.id::text
          AND s.state IN ('PENDING', 'IN_PROGRESS', 'COMPENSATING'))
 ORDER BY j.priority DESC, j.created_at
 LIMIT %(number)s
