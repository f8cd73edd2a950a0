-- Prolong the leases of running jobs, in one statement; what does not return was lost. Tells which
-- runs somebody asked to stop. Locks: leases in the order of their jobs, as whoever lets jobs begin,
-- stores logs or ends the worker meanwhile.
UPDATE job_leases AS l
   SET expires_at = clock_timestamp() + %(seconds)s * interval '1 second'
  FROM (
    SELECT l.job_id FROM job_leases AS l
      JOIN unnest(%(ids)b::uuid[], %(epochs)b::bigint[]) AS held (id, epoch)
        ON l.job_id = held.id AND l.epoch = held.epoch
     WHERE l.job_id = ANY(%(ids)b::uuid[])
     ORDER BY l.job_id
       FOR NO KEY UPDATE OF l
  ) AS mine
 WHERE l.job_id = mine.job_id
RETURNING l.job_id, l.cancel_requested_at IS NOT NULL
