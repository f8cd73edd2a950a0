-- Orchestrated jobs that were leased to this worker, and have not begun. Index:
-- jobs_orchestrated_idx. The columns are those of ``claim``.
SELECT j.id, l.epoch, j.spec::text, j.attempts, j.max_attempts,
       extract(epoch FROM j.timeout)::float8, j.name, j.correlation_id, j.trace_parent,
       least(greatest(j.created_at, '0001-01-03 00:00+00'), '9999-12-29 00:00+00'),
       CASE WHEN j.started_at BETWEEN '0001-01-03 00:00+00' AND '9999-12-29 00:00+00'
            THEN j.started_at END,
       j.lost_leases, j.metadata::text, false, j.priority, 0::bigint,
       j.queue
  FROM jobs AS j JOIN job_leases AS l ON l.job_id = j.id
 WHERE j.orchestrated AND j.state = 'ASSIGNED' AND j.worker_id = %(worker)s
   AND l.worker_id = %(worker)s
 ORDER BY j.priority DESC, l.epoch
