-- Seconds until the next deferred job is due; NULL where none waits.
SELECT extract(epoch FROM run_after - clock_timestamp())::float8
  FROM job_queue_deferred ORDER BY run_after LIMIT 1
