-- A worker that ends gives back what was leased to it and has not begun.
WITH mine AS (
    DELETE FROM job_leases AS l USING jobs AS j
     WHERE l.worker_id = %(worker)s AND j.id = l.job_id AND j.orchestrated
       AND j.state = 'ASSIGNED'
    RETURNING l.job_id
)/*told , returned AS (*/
UPDATE jobs AS j SET state = 'PENDING', updated_at = clock_timestamp()
  FROM mine
 WHERE j.id = mine.job_id AND (j.state = 'ASSIGNED') IS TRUE
RETURNING j.id/*told
        , j.state, j.name, j.correlation_id, j.trace_parent, j.queue, j.attempts
), changed AS (
    SELECT id, 'JobReturned' AS event, name, correlation_id, trace_parent,
           jsonb_build_object('state', state, 'queue', queue, 'attempts', attempts,
                              'worker_id', %(worker)s::uuid) AS facts
      FROM returned
){parts}
SELECT id FROM returned*/
