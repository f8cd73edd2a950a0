-- Jobs whose lease ran out go back into the queue (unless a saga has them run), or end where that
-- happened too often. One statement: a run that finishes at this moment has its lease deleted by one
-- of the two alone. Those of one worker, or of all.
-- Only runs count: what had not begun cannot have been what killed its worker, has no time of a
-- beginning afterwards, and goes back to where it stood, unless somebody stands there. What was lost again waits at random, so that a job that kills its workers
-- does not meet the same others each time, and take them along.
-- Locks: leases that nobody has, and then their jobs. Index: job_leases_expires_idx.
WITH expired AS MATERIALIZED (
    SELECT job_id, epoch, worker_id, cancel_requested_at IS NOT NULL AS cancelled
      FROM job_leases
     WHERE expires_at < clock_timestamp()
       AND (%(worker)s::uuid IS NULL OR worker_id = %(worker)s::uuid)
     ORDER BY expires_at
     LIMIT %(number)s
       FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM job_leases AS l USING expired
     WHERE l.job_id = ANY(ARRAY(SELECT job_id FROM expired)) AND l.job_id = expired.job_id
       AND l.epoch = expired.epoch
    RETURNING l.job_id, l.worker_id, expired.cancelled, l.place, l.enqueued_at
), lost AS (
    UPDATE jobs AS j
       SET state = CASE WHEN gone.cancelled THEN 'CANCELLED'
                        WHEN j.lost_leases + (j.state = 'RUNNING')::int >= %(most)s THEN 'FAILED'
                        ELSE 'PENDING' END,
           lost_leases = j.lost_leases + (j.state = 'RUNNING')::int,
           attempts = j.attempts - (j.state = 'RUNNING')::int,
           started_at = CASE WHEN j.state = 'RUNNING' THEN j.started_at END,
           run_after = CASE WHEN j.state = 'RUNNING' AND NOT gone.cancelled AND NOT j.orchestrated
                             AND j.lost_leases + 1 BETWEEN 2 AND %(most)s - 1
                            THEN clock_timestamp() + random() * j.lost_leases * %(apart)s
                                                     * interval '1 second'
                            ELSE j.run_after END,
           completed_at = CASE WHEN gone.cancelled
                                 OR j.lost_leases + (j.state = 'RUNNING')::int >= %(most)s
                               THEN clock_timestamp() END,
           error_message = CASE WHEN j.state = 'RUNNING' OR gone.cancelled THEN %(message)s
                                ELSE j.error_message END,
           result = CASE WHEN j.lost_leases + (j.state = 'RUNNING')::int >= %(most)s
                          AND NOT gone.cancelled
                         THEN jsonb_build_object('kind', 'InfrastructureError',
                                                 'error_message', %(message)s::text)
                         ELSE j.result END,
           updated_at = clock_timestamp()
      FROM gone
     WHERE j.id = ANY(ARRAY(SELECT job_id FROM gone)) AND j.id = gone.job_id
       AND (j.state IN ('ASSIGNED', 'RUNNING')) IS TRUE
    RETURNING j.id, j.state, j.queue, j.priority, j.attempts, j.started_at, gone.worker_id,
              j.orchestrated, j.run_after, gone.enqueued_at,
              CASE WHEN j.started_at IS NULL THEN gone.place END AS place,
              j.started_at IS NOT NULL AND j.lost_leases > 1 AS waits
              /*told , j.name, j.correlation_id, j.trace_parent, j.lost_leases*/
), again AS (
    INSERT INTO job_queue (id, job_id, queue, priority, enqueued_at)
    SELECT coalesce(free.place, nextval('job_queue_id_seq')), lost.id, lost.queue, lost.priority,
           CASE WHEN free.place IS NULL THEN now() ELSE lost.enqueued_at END
      FROM lost
      LEFT JOIN LATERAL (SELECT lost.place WHERE lost.place IS NOT NULL
                            AND NOT EXISTS (SELECT FROM job_queue AS q WHERE q.id = lost.place))
             AS free ON true
     WHERE lost.state = 'PENDING' AND NOT lost.waits AND NOT lost.orchestrated
        ON CONFLICT (job_id) DO NOTHING
), later AS (
    INSERT INTO job_queue_deferred (job_id, run_after, queue, priority)
    SELECT id, run_after, queue, priority FROM lost
     WHERE state = 'PENDING' AND waits AND NOT orchestrated
        ON CONFLICT (job_id) DO NOTHING
), noted AS (
    INSERT INTO job_failed_attempts (job_id, attempt, worker_id, started_at, failed_at, kind,
                                     message)
    SELECT id, attempts + 1, worker_id, started_at, clock_timestamp(), 'InfrastructureError',
           %(message)s
      FROM lost WHERE started_at IS NOT NULL
)/*told , changed AS (
    SELECT id, CASE state WHEN 'PENDING' THEN 'JobRescued' WHEN 'FAILED' THEN 'JobFailed'
                          ELSE 'JobCancelled' END AS event,
           name, correlation_id, trace_parent,
           jsonb_build_object('state', state, 'queue', queue, 'attempts', attempts,
                              'worker_id', worker_id, 'lost_leases', lost_leases,
                              'kind', 'InfrastructureError', 'error', %(message)s::text) AS facts
      FROM lost
){parts}*/
SELECT id, state, queue, worker_id FROM lost
