-- Queues that have jobs that wait and are due, some thousand of them at most: those of the ready queue, found one by one, and those
-- of orchestrated jobs, but not of those for which a RECOVERY makes a worker.
-- Indexes: job_queue_claim_idx, jobs_orchestrated_idx, sagas_one_live_per_key.
WITH RECURSIVE found AS (
    (SELECT queue FROM job_queue ORDER BY queue LIMIT 1)
     UNION ALL
    SELECT (SELECT q.queue FROM job_queue AS q WHERE q.queue > found.queue ORDER BY q.queue LIMIT 1)
      FROM found WHERE found.queue IS NOT NULL
)
(SELECT queue FROM found WHERE queue IS NOT NULL LIMIT 1000)
 UNION
SELECT j.queue FROM jobs AS j
 WHERE j.orchestrated AND j.state = 'PENDING'
   AND (j.run_after IS NULL OR j.run_after <= clock_timestamp())
   AND NOT EXISTS (
       SELECT FROM sagas AS s
        WHERE s.saga_type = 'RECOVERY' AND s.business_key = j.worker_id::text
          AND s.state IN ('PENDING', 'IN_PROGRESS', 'COMPENSATING'))
