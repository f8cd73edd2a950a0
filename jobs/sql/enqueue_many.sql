-- Store jobs and their places, in the order of ``place``; a job whose idempotency key is known is
-- left out of what returns, and of those with one key the first is stored. Keys are taken in their own
-- order, so that two calls with the same keys wait for one another, and never crosswise.
WITH given AS (
    SELECT * FROM /* given */
), stored AS (
    INSERT INTO jobs (id, spec, state, name, queue, priority, run_after, timeout, max_attempts,
                      correlation_id, idempotency_key, trace_parent, metadata, orchestrated)
    SELECT id, spec, 'PENDING', name, queue, priority, run_after, timeout, max_attempts,
           correlation_id, idempotency_key, trace_parent, metadata, orchestrated
      FROM given ORDER BY idempotency_key COLLATE "C", place
        ON CONFLICT (idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
    RETURNING id
), ready AS (
    INSERT INTO job_queue (job_id, queue, priority)
    SELECT g.id, g.queue, g.priority FROM given AS g JOIN stored USING (id)
     WHERE NOT g.orchestrated AND (g.run_after IS NULL OR g.run_after <= clock_timestamp())
     ORDER BY g.place
), later AS (
    INSERT INTO job_queue_deferred (job_id, run_after, queue, priority)
    SELECT g.id, g.run_after, g.queue, g.priority FROM given AS g JOIN stored USING (id)
     WHERE NOT g.orchestrated AND g.run_after > clock_timestamp()
)/*told , changed AS (
    SELECT id, 'JobEnqueued' AS event, g.name, g.correlation_id, g.trace_parent,
           jsonb_build_object('state', 'PENDING', 'queue', g.queue, 'priority', g.priority,
                              'run_after', g.run_after) AS facts
      FROM given AS g JOIN stored USING (id)
){parts}*/
SELECT id FROM stored
