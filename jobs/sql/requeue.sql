-- Let failed jobs run again, the oldest first: once more at least, however many attempts they have
-- spent. Those that another changes at this moment are left alone. Index: jobs_state_created_idx.
WITH picked AS MATERIALIZED (
    SELECT j.id FROM jobs AS j
     WHERE /* filter */ AND j.created_at >= %(from)s::timestamptz
     ORDER BY j.created_at, j.id
     LIMIT %(number)s
       FOR UPDATE SKIP LOCKED
), again AS (
    UPDATE jobs AS j
       SET state = 'PENDING', completed_at = NULL, result = NULL, error_message = NULL,
           run_after = NULL, lost_leases = 0, max_attempts = greatest(max_attempts, attempts + 1),
           updated_at = clock_timestamp()
      FROM picked WHERE j.id = ANY(ARRAY(SELECT id FROM picked)) AND j.id = picked.id
    RETURNING j.id, j.queue, j.priority, j.correlation_id, j.name, j.orchestrated, j.created_at
), queued AS (
    INSERT INTO job_queue (job_id, queue, priority)
    SELECT id, queue, priority FROM again WHERE NOT orchestrated ORDER BY id
        ON CONFLICT (job_id) DO NOTHING
)
SELECT id, queue, correlation_id, name,
       least(greatest(created_at, '0001-01-03 00:00+00'), '9999-12-29 00:00+00')
  FROM again
