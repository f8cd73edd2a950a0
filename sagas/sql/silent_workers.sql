-- Workers that were made by a provider, have given no sign of life for too long, and have no job that
-- a RECOVERY looks after. Other workers look for such ones, too, where there are any.
-- Index: idx_workers_state.
SELECT w.id FROM workers AS w
 WHERE w.state IN ('CONNECTING', 'REGISTERED', 'READY', 'BUSY', 'DRAINING', 'TERMINATING')
   AND coalesce(w.last_heartbeat, w.created_at)
       < clock_timestamp() - %(silence)s * interval '1 second'
   AND pg_postmaster_start_time() < clock_timestamp() - %(uptime)s * interval '1 second'
   AND NOT EXISTS (
       SELECT FROM job_leases AS l JOIN jobs AS j ON j.id = l.job_id
        WHERE l.worker_id = w.id AND j.orchestrated)
 ORDER BY w.id
 LIMIT %(number)s
