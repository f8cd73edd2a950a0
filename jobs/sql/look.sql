-- Whether there is anything to do, in one statement, which is what an idle worker costs: seconds
-- until the next deferred job is due, and until the next schedule is (NULL where none waits; where one
-- was changed, or a time dealt with, at a time that is yet to come, the clock was put back, and that is
-- due at once); whether a
-- lease has run out; whether a worker is silent; and the queues that have jobs, the first so many by
-- their names, by a walk from one to the next that reads one entry for each.
-- Seconds are taken from seconds: infinity less a time is an error before PostgreSQL 17.
-- Indices: job_queue_deferred_due_idx, job_schedules_due_idx, job_leases_expires_idx,
-- idx_workers_state, job_queue_claim_idx.
WITH RECURSIVE found AS (
    (SELECT queue FROM job_queue ORDER BY queue LIMIT 1)
     UNION ALL
    SELECT (SELECT q.queue FROM job_queue AS q WHERE q.queue > found.queue ORDER BY q.queue LIMIT 1)
      FROM found WHERE found.queue IS NOT NULL
)
SELECT (SELECT extract(epoch FROM run_after)::float8
               - extract(epoch FROM clock_timestamp())::float8
          FROM job_queue_deferred ORDER BY run_after LIMIT 1),
       CASE WHEN EXISTS (SELECT FROM job_schedules
                          WHERE enabled
                            AND greatest(last_run_at, updated_at) > clock_timestamp()) THEN 0.0
            ELSE (SELECT extract(epoch FROM next_run_at)::float8
                         - extract(epoch FROM clock_timestamp())::float8
                    FROM job_schedules WHERE enabled AND next_run_at IS NOT NULL
                   ORDER BY next_run_at LIMIT 1) END,
       (SELECT expires_at < clock_timestamp() FROM job_leases ORDER BY expires_at LIMIT 1),
       EXISTS (SELECT FROM workers
                WHERE state IN ('CREATING', 'CONNECTING', 'REGISTERED', 'READY', 'BUSY', 'DRAINING',
                                'TERMINATING')
                  AND coalesce(last_heartbeat, created_at)
                      < clock_timestamp() - %(silence)s * interval '1 second'),
       ARRAY(SELECT queue FROM found WHERE queue IS NOT NULL LIMIT %(queues)s)
