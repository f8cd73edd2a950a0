-- Workers whose leases ran out and who have given no sign of life since: they are gone.
UPDATE workers SET state = 'TERMINATED', current_job_id = NULL, updated_at = clock_timestamp()
 WHERE id = ANY(%(workers)s::uuid[]) AND state NOT IN ('TERMINATED', 'FAILED')
   AND coalesce(last_heartbeat, created_at) < clock_timestamp() - interval '30 seconds'
