-- The schedules that are due and were not seen yet, or that a clock which was put back left behind,
-- with the newest time that it knows of, and the clock that decides it. Locks them: whoever changes one waits.
-- Times that no clock of ours can show are the next ones that it can.
SELECT id, name, cron, time_zone, spec::text, options::text, overlap, missed,
       CASE WHEN next_run_at < '0001-01-03 00:00+00' THEN '0001-01-03 00:00+00'
            WHEN next_run_at > '9999-12-29 00:00+00' THEN '9999-12-29 00:00+00'
            ELSE next_run_at END,
       last_job_id,
       least(greatest(last_run_at, updated_at, '0001-01-03 00:00+00'), '9999-12-29 00:00+00'),
       clock_timestamp()
  FROM job_schedules
 WHERE enabled AND (next_run_at <= clock_timestamp()
                    OR greatest(last_run_at, updated_at) > clock_timestamp())
   AND id <> ALL (%(seen)s::bigint[])
 ORDER BY job_schedules.next_run_at
 LIMIT %(number)s
   FOR UPDATE SKIP LOCKED
