-- Orchestrated jobs that a lost worker has: it is silent, or its provider says that it is gone. One
-- job of each such worker: its other jobs wait again when it has been given up. Not of workers that
-- a RECOVERY is at, or was at a moment ago.
-- While the server was away nobody could give a sign of life: after its start it waits that long.
-- Indexes: jobs_orchestrated_idx, sagas_one_live_per_key, idx_sagas_started_at.
SELECT DISTINCT ON (w.id) j.id, w.id, j.correlation_id
  FROM jobs AS j
  JOIN job_leases AS l ON l.job_id = j.id
  JOIN workers AS w ON w.id = l.worker_id
 WHERE j.orchestrated AND j.state IN ('ASSIGNED', 'RUNNING')
   AND (w.handle ->> 'gone' = 'true'
        OR coalesce(w.last_heartbeat, w.created_at)
           < clock_timestamp() - %(silence)s * interval '1 second'
       AND pg_postmaster_start_time() < clock_timestamp() - %(uptime)s * interval '1 second')
   AND NOT EXISTS (
       SELECT FROM sagas AS s
        WHERE s.saga_type = 'RECOVERY' AND s.business_key = w.id::text
          AND s.state IN ('PENDING', 'IN_PROGRESS', 'COMPENSATING'))
   AND NOT EXISTS (
       SELECT FROM sagas AS s
        WHERE s.saga_type = 'RECOVERY' AND s.business_key = w.id::text
          AND s.started_at > clock_timestamp() - interval '1 hour'
          AND s.completed_at > clock_timestamp() - %(pause)s * interval '1 second')
 ORDER BY w.id, j.priority DESC, j.created_at
 LIMIT %(number)s
