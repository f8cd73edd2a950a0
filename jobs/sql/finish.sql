-- How runs ended, of those whose lease is still ours: a stolen lease is not written over, and what
-- does not return was lost. A run that is to be tried again goes back, now or later, to the end of its
-- priority; what has not begun (PENDING without seconds) to where it stood, unless somebody stands
-- there. One that ended for good stays. Failed runs leave an attempt behind. A job that was completed
-- in a transaction of its own stays as that left it. What would go back and was asked to be stopped is
-- CANCELLED: its worker had not heard of it yet.
WITH ended AS (
    SELECT * FROM unnest(%(ids)b::uuid[], %(epochs)b::bigint[], %(states)b::text[],
                         %(results)s::jsonb[], %(errors)s::text[], %(seconds)s::float8[],
                         %(spent)b::boolean[], %(kinds)s::text[], %(classes)s::text[],
                         %(traces)s::text[]/*told , %(told)s::text[]*/)
                  AS e (id, epoch, state, result, error, seconds, spent, kind, class, trace
                        /*told , told*/)
), mine AS (
    DELETE FROM job_leases AS l USING ended
     WHERE l.job_id = ANY(%(ids)b::uuid[]) AND l.job_id = ended.id AND l.epoch = ended.epoch
    RETURNING ended.*, l.worker_id, l.place, l.enqueued_at,
              ended.state = 'PENDING' AND ended.seconds IS NULL AS unbegun,
              ended.state = 'PENDING' AND l.cancel_requested_at IS NOT NULL AS stopped
), written AS (
    UPDATE jobs AS j
       SET state = CASE WHEN mine.stopped THEN 'CANCELLED' ELSE mine.state END,
           result = CASE WHEN mine.unbegun THEN j.result ELSE mine.result END,
           error_message = CASE WHEN mine.stopped THEN %(cancelled)s
                                WHEN mine.unbegun THEN j.error_message
                                ELSE mine.error END,
           attempts = j.attempts - (NOT mine.spent)::int,
           started_at = CASE WHEN mine.unbegun AND j.state = 'RUNNING' THEN NULL
                             ELSE j.started_at END,
           completed_at = CASE WHEN mine.stopped OR mine.state <> 'PENDING'
                               THEN clock_timestamp() END,
           run_after = CASE WHEN mine.state = 'PENDING' AND mine.seconds > 0 AND NOT mine.stopped
                            THEN clock_timestamp() + mine.seconds * interval '1 second'
                            ELSE j.run_after END,
           updated_at = clock_timestamp()
      FROM mine
     WHERE j.id = mine.id
       AND (j.state IN ('ASSIGNED', 'RUNNING')) IS TRUE
    RETURNING j.id, j.state, j.queue, j.priority, j.run_after, j.attempts, j.started_at,
              mine.seconds, mine.kind, mine.class, mine.error, mine.trace, mine.worker_id,
              j.orchestrated,
              CASE WHEN mine.unbegun THEN mine.place END AS place, mine.enqueued_at
              /*told , j.name, j.correlation_id, j.trace_parent, mine.told*/
), again AS (
    INSERT INTO job_queue (id, job_id, queue, priority, enqueued_at)
    SELECT coalesce(free.place, nextval('job_queue_id_seq')), w.id, w.queue, w.priority,
           CASE WHEN free.place IS NULL THEN now() ELSE w.enqueued_at END
      FROM written AS w
      LEFT JOIN LATERAL (SELECT w.place WHERE w.place IS NOT NULL
                            AND NOT EXISTS (SELECT FROM job_queue AS q WHERE q.id = w.place))
             AS free ON true
     WHERE w.state = 'PENDING' AND coalesce(w.seconds, 0) <= 0 AND NOT w.orchestrated
        ON CONFLICT (job_id) DO NOTHING
), later AS (
    INSERT INTO job_queue_deferred (job_id, run_after, queue, priority)
    SELECT id, run_after, queue, priority FROM written
     WHERE state = 'PENDING' AND seconds > 0 AND NOT orchestrated
        ON CONFLICT (job_id) DO UPDATE SET run_after = excluded.run_after
), noted AS (
    INSERT INTO job_failed_attempts (job_id, attempt, worker_id, started_at, failed_at, kind,
                                     error_class, message, traceback)
    SELECT id, attempts, worker_id, started_at, clock_timestamp(), kind, class, error, trace
      FROM written WHERE kind IS NOT NULL
)/*told , changed AS (
    SELECT id, CASE state WHEN 'SUCCEEDED' THEN 'JobSucceeded' WHEN 'FAILED' THEN 'JobFailed'
                          WHEN 'TIMEOUT' THEN 'JobTimedOut' WHEN 'CANCELLED' THEN 'JobCancelled'
                          ELSE CASE WHEN kind IS NULL THEN 'JobReturned' ELSE 'JobRetryScheduled'
                               END END AS event,
           name, correlation_id, trace_parent,
           jsonb_build_object('state', state, 'queue', queue, 'attempts', attempts,
                              'worker_id', worker_id, 'kind', kind, 'error_class', class,
                              'error', told, 'run_after',
                              CASE WHEN state = 'PENDING' AND seconds > 0 THEN run_after END)
           AS facts
      FROM written
){parts}*/
SELECT id FROM mine
