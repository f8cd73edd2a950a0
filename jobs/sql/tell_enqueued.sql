-- Tell of jobs that were stored by COPY in this transaction, where anybody wants to know.
WITH stored AS (
    SELECT id, name, queue, priority, run_after, correlation_id, trace_parent
      FROM jobs WHERE id = ANY(%(ids)s::uuid[])
)/*told , changed AS (
    SELECT id, 'JobEnqueued' AS event, name, correlation_id, trace_parent,
           jsonb_build_object('state', 'PENDING', 'queue', queue, 'priority', priority,
                              'run_after', run_after) AS facts
      FROM stored
){parts}*/
SELECT count(*) FROM stored
