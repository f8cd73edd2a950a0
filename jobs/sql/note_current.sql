-- What a worker that runs one job at a time runs now; NULL is nothing. For those who look: the lease
-- decides. A worker that has lost the job to this one may still have it noted. Returns its state now,
-- and before.
UPDATE workers AS w
   SET current_job_id = %(job)s::uuid, updated_at = clock_timestamp(),
       state = CASE WHEN w.state NOT IN ('READY', 'BUSY') THEN w.state
                    WHEN %(job)s::uuid IS NULL THEN 'READY' ELSE 'BUSY' END
 WHERE w.id = %(worker)s AND w.state NOT IN ('TERMINATED', 'FAILED')
   AND (%(job)s::uuid IS NULL OR EXISTS (
        SELECT FROM job_leases AS l WHERE l.job_id = %(job)s::uuid AND l.worker_id = %(worker)s))
RETURNING w.state, (SELECT before.state FROM workers AS before WHERE before.id = w.id)
