-- Store one job and its place: ready now, due later, or in no queue at all (orchestrated: a saga
-- leases it). A known idempotency key stores nothing and returns the job that has it.
-- One round trip, in the caller's transaction; wakes a worker that sleeps on the queue.
WITH stored AS (
    INSERT INTO jobs (id, spec, state, name, queue, priority, run_after, timeout, max_attempts,
                      correlation_id, idempotency_key, trace_parent, metadata, orchestrated)
    VALUES (%(id)s::uuid, %(spec)s::jsonb, 'PENDING', %(name)s, %(queue)s, %(priority)s,
            %(run_after)s::timestamptz, %(timeout)s::interval, %(max_attempts)s,
            %(correlation_id)s, %(idempotency_key)s, %(trace_parent)s, %(metadata)s::jsonb,
            %(orchestrated)s)
        ON CONFLICT (idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
    RETURNING id, queue, priority, run_after/*told , name, correlation_id, trace_parent*/
), ready AS (
    INSERT INTO job_queue (job_id, queue, priority)
    SELECT id, queue, priority FROM stored
     WHERE NOT %(orchestrated)s AND (run_after IS NULL OR run_after <= clock_timestamp())
    RETURNING queue
), later AS (
    INSERT INTO job_queue_deferred (job_id, run_after, queue, priority)
    SELECT id, run_after, queue, priority FROM stored
     WHERE NOT %(orchestrated)s AND run_after > clock_timestamp()
)/*told , changed AS (
    SELECT id, 'JobEnqueued' AS event, name, correlation_id, trace_parent,
           jsonb_build_object('state', 'PENDING', 'queue', queue, 'priority', priority,
                              'run_after', run_after) AS facts
      FROM stored
){parts}*/
SELECT stored.id, true AS is_new,
       CASE WHEN NOT EXISTS (SELECT FROM ready) THEN NULL
            WHEN pg_try_advisory_lock_shared(%(gate)s, hashtext(stored.queue))
            THEN pg_advisory_unlock_shared(%(gate)s, hashtext(stored.queue))::text
            ELSE pg_notify(%(channel)s, '')::text END AS woken
  FROM stored
 UNION ALL
SELECT id, false, NULL FROM jobs
 WHERE idempotency_key = %(idempotency_key)s AND NOT EXISTS (SELECT FROM stored)
