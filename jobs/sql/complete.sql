-- A run completes its job in the transaction of its own work. The lock on the lease lets renewals
-- pass and nobody take the lease away; the lease itself goes when the run has returned.
WITH held AS (
    SELECT job_id FROM job_leases WHERE job_id = %(id)s AND epoch = %(epoch)s FOR KEY SHARE
)/*told , ended AS (*/
UPDATE jobs AS j
   SET state = 'SUCCEEDED', result = %(result)s::jsonb, error_message = NULL,
       completed_at = clock_timestamp(), updated_at = clock_timestamp()
  FROM held
 WHERE j.id = held.job_id AND (j.state = 'RUNNING') IS TRUE
RETURNING j.id/*told
        , j.state, j.name, j.correlation_id, j.trace_parent, j.queue, j.attempts, j.worker_id
), changed AS (
    SELECT id, 'JobSucceeded' AS event, name, correlation_id, trace_parent,
           jsonb_build_object('state', state, 'queue', queue, 'attempts', attempts,
                              'worker_id', worker_id) AS facts
      FROM ended
){parts}
SELECT id FROM ended*/
