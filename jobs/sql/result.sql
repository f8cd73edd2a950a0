-- A job as the result of a task, with its failed runs, the oldest first.
-- Index: job_failed_attempts_job_idx.
SELECT j.spec::text, j.state, j.queue, j.priority, j.run_after, j.created_at, j.started_at,
       j.completed_at, j.result::text, j.error_message, j.worker_id,
       coalesce((SELECT json_agg(json_build_object(
                            'kind', f.kind, 'error_class', f.error_class, 'message', f.message,
                            'traceback', f.traceback, 'worker_id', f.worker_id,
                            'started_at', f.started_at) ORDER BY f.id)
                   FROM job_failed_attempts AS f WHERE f.job_id = j.id), '[]')::text
  FROM jobs AS j
 WHERE j.id = %(id)s
