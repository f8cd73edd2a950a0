-- Workers that have given no sign of life for too long are gone, with their leases. Before its first
-- heartbeat a worker's time counts from its registration; one that is still being made has longer.
-- While the server was away nobody could give one: after its start it waits that long, too.
-- Locks: workers first and then their leases, as everything that ends a worker does; never waiting.
-- A lease that somebody has just then is one that is given back, or that runs out by itself.
-- Index: idx_workers_state.
WITH silent AS MATERIALIZED (
    SELECT id, state FROM workers
     WHERE state IN ('CREATING', 'CONNECTING', 'REGISTERED', 'READY', 'BUSY', 'DRAINING',
                     'TERMINATING')
       AND coalesce(last_heartbeat, created_at) < clock_timestamp()
           - CASE state WHEN 'CREATING' THEN %(making)s ELSE %(silence)s END * interval '1 second'
       AND pg_postmaster_start_time() < clock_timestamp() - %(uptime)s * interval '1 second'
     ORDER BY id
     LIMIT %(number)s
       FOR UPDATE SKIP LOCKED
), lost AS (
    UPDATE workers AS w
       SET state = 'TERMINATED', current_job_id = NULL, updated_at = clock_timestamp()
      FROM silent WHERE w.id = silent.id
    RETURNING w.id, w.provider_resource_id, silent.state, w.last_heartbeat
), freed AS (
    UPDATE job_leases SET expires_at = clock_timestamp() - interval '1 second'
     WHERE job_id = ANY(ARRAY(
               SELECT l.job_id FROM job_leases AS l JOIN lost ON l.worker_id = lost.id
                  FOR NO KEY UPDATE OF l SKIP LOCKED))
)
SELECT id, provider_resource_id, state,
       CASE WHEN last_heartbeat > '0001-01-03 00:00+00' THEN last_heartbeat END
  FROM lost
