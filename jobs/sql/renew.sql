-- Prolong the leases of running jobs, in one statement; what does not return was lost. Tells which
-- runs somebody asked to stop.
UPDATE job_leases AS l
   SET expires_at = clock_timestamp() + %(seconds)s * interval '1 second'
  FROM unnest(%(ids)b::uuid[], %(epochs)b::bigint[]) AS held (id, epoch)
 WHERE l.job_id = ANY(%(ids)b::uuid[]) AND l.job_id = held.id AND l.epoch = held.epoch
RETURNING l.job_id, l.cancel_requested_at IS NOT NULL
