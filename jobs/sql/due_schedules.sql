-- The schedules that are due and were not seen yet, or that a clock which was put back left behind,
-- with the newest time that it knows of, and the clock that decides it. Locks them: whoever changes one waits.
SELECT id, name, cron, time_zone, spec::text, options::text, overlap, missed, next_run_at,
       last_job_id, greatest(last_run_at, updated_at), clock_timestamp()
  FROM job_schedules
 WHERE enabled AND (next_run_at <= clock_timestamp()
                    OR greatest(last_run_at, updated_at) > clock_timestamp())
   AND id <> ALL (%(seen)s::bigint[])
 ORDER BY next_run_at
 LIMIT %(number)s
   FOR UPDATE SKIP LOCKED
