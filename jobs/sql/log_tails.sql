-- The newest output of runs, of those whose lease is still ours. ``total`` counts what the log file
-- has of earlier attempts, too.
INSERT INTO job_log_tails (job_id, tail, total_bytes, updated_at)
SELECT given.job_id, given.tail, given.total + coalesce(f.size_bytes, 0), clock_timestamp()
  FROM unnest(%(ids)s::uuid[], %(epochs)s::bigint[], %(tails)s::bytea[], %(totals)s::bigint[])
       AS given (job_id, epoch, tail, total)
  JOIN job_leases AS l ON l.job_id = given.job_id AND l.epoch = given.epoch
  LEFT JOIN job_log_files AS f ON f.job_id = given.job_id
 ORDER BY given.job_id
    ON CONFLICT (job_id) DO UPDATE
   SET tail = excluded.tail, total_bytes = excluded.total_bytes, updated_at = excluded.updated_at
