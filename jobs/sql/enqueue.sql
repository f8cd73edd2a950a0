-- Store one job and its place: ready now, due later, or in no queue at all (orchestrated: a saga
-- leases it). A known idempotency key stores nothing and returns the job that has it, or NULL where
-- that has gone meanwhile. Wakes a worker that sleeps on the queue.
-- One round trip, in the caller's transaction. What is done stands in migration 0024.
/*told WITH stored AS (
*/SELECT id, is_new, stored_at
  FROM jobs_enqueue(%(id)s, %(spec)s, %(name)s, %(queue)s, %(priority)s, %(run_after)s, %(timeout)s,
                    %(max_attempts)s, %(correlation_id)s, %(idempotency_key)s, %(trace_parent)s,
                    %(metadata)s, %(orchestrated)s)/*told
), changed AS (
    SELECT id, 'JobEnqueued' AS event, %(name)s::text AS name,
           %(correlation_id)s::text AS correlation_id, %(trace_parent)s::text AS trace_parent,
           jsonb_build_object('state', 'PENDING', 'queue', %(queue)s::text,
                              'priority', %(priority)s::int,
                              'run_after', %(run_after)s::timestamptz) AS facts
      FROM stored WHERE is_new
){parts}
SELECT id, is_new, stored_at FROM stored*/
