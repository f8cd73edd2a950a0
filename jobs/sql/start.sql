-- Jobs that were ASSIGNED begin: an attempt is spent. Only under the lease; what does not return has
-- been taken away, or cancelled, and must not begin. Locks: leases in the order of their jobs, which
-- others renew at the same moment, and then the jobs.
WITH mine AS (
    SELECT l.job_id FROM job_leases AS l
      JOIN unnest(%(ids)b::uuid[], %(epochs)b::bigint[]) AS held (id, epoch)
        ON l.job_id = held.id AND l.epoch = held.epoch
     WHERE l.job_id = ANY(%(ids)b::uuid[]) AND l.cancel_requested_at IS NULL
     ORDER BY l.job_id
       FOR UPDATE OF l
)/*told , begun AS (*/
UPDATE jobs AS j
   SET state = 'RUNNING', attempts = j.attempts + 1, started_at = clock_timestamp(),
       updated_at = clock_timestamp()
  FROM mine
 WHERE j.id = mine.job_id AND (j.state = 'ASSIGNED') IS TRUE
RETURNING j.id, j.attempts, j.started_at/*told
        , j.state, j.name, j.correlation_id, j.trace_parent, j.queue, j.worker_id
), changed AS (
    SELECT id, 'JobStarted' AS event, name, correlation_id, trace_parent,
           jsonb_build_object('state', state, 'queue', queue, 'attempts', attempts,
                              'worker_id', worker_id) AS facts
      FROM begun
){parts}
SELECT id, attempts, started_at FROM begun*/
