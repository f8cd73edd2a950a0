-- Store jobs and their places, in the order of the arrays; a job whose idempotency key is known is
-- left out of what returns.
WITH given AS (
    SELECT * FROM unnest(%(ids)s::uuid[], %(specs)s::jsonb[], %(names)s::text[], %(queues)s::text[],
                         %(priorities)s::int[], %(run_afters)s::timestamptz[],
                         %(timeouts)s::interval[], %(most_attempts)s::int[],
                         %(correlation_ids)s::text[], %(idempotency_keys)s::text[],
                         %(trace_parents)s::text[], %(metadata)s::jsonb[],
                         %(orchestrated)s::boolean[])
             WITH ORDINALITY
             AS g (id, spec, name, queue, priority, run_after, timeout, max_attempts,
                   correlation_id, idempotency_key, trace_parent, metadata, orchestrated, place)
), stored AS (
    INSERT INTO jobs (id, spec, state, name, queue, priority, run_after, timeout, max_attempts,
                      correlation_id, idempotency_key, trace_parent, metadata, orchestrated)
    SELECT id, spec, 'PENDING', name, queue, priority, run_after, timeout, max_attempts,
           correlation_id, idempotency_key, trace_parent, metadata, orchestrated
      FROM given ORDER BY place
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
