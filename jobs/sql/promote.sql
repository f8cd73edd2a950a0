-- Jobs whose time has come go into the queue. Index: job_queue_deferred_due_idx.
WITH due AS MATERIALIZED (
    SELECT job_id, queue, priority FROM job_queue_deferred
     WHERE run_after <= clock_timestamp()
     ORDER BY run_after
     LIMIT %(number)s
       FOR UPDATE SKIP LOCKED
), moved AS (
    DELETE FROM job_queue_deferred AS d USING due
     WHERE d.job_id = ANY(ARRAY(SELECT job_id FROM due)) AND d.job_id = due.job_id
    RETURNING d.job_id, d.queue, d.priority
)/*told , changed AS (
    SELECT moved.job_id AS id, 'JobPromoted' AS event, j.name, j.correlation_id, j.trace_parent,
           jsonb_build_object('state', j.state, 'queue', moved.queue) AS facts
      FROM moved JOIN jobs AS j ON j.id = moved.job_id AND j.state = 'PENDING'
     WHERE j.id = ANY(ARRAY(SELECT job_id FROM moved))
){parts}*/
INSERT INTO job_queue (job_id, queue, priority)
SELECT moved.job_id, moved.queue, moved.priority
  FROM moved JOIN jobs AS j ON j.id = moved.job_id AND j.state = 'PENDING'
 WHERE j.id = ANY(ARRAY(SELECT job_id FROM moved))
 ORDER BY moved.priority DESC, moved.job_id
    ON CONFLICT (job_id) DO NOTHING
RETURNING queue
