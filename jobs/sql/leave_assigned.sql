-- A worker that ends gives back what was leased to it and has not begun.
WITH mine AS (
    DELETE FROM job_leases AS l USING jobs AS j
     WHERE l.worker_id = %(worker)s AND j.id = l.job_id AND j.orchestrated
       AND j.state = 'ASSIGNED'
    RETURNING l.job_id
)
UPDATE jobs AS j SET state = 'PENDING', updated_at = clock_timestamp()
  FROM mine
 WHERE j.id = mine.job_id AND (j.state = 'ASSIGNED') IS TRUE
