-- A run completes its job in the transaction of its own work. The lock on the lease lets renewals
-- pass and nobody take the lease away; the lease itself goes when the run has returned.
WITH held AS (
    SELECT job_id FROM job_leases WHERE job_id = %(id)s AND epoch = %(epoch)s FOR KEY SHARE
)
UPDATE jobs AS j
   SET state = 'SUCCEEDED', result = %(result)s::jsonb, error_message = NULL,
       completed_at = clock_timestamp(), updated_at = clock_timestamp()
  FROM held
 WHERE j.id = held.job_id AND (j.state = 'RUNNING') IS TRUE
RETURNING j.id
