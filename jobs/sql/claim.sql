-- Take the next jobs of some queues: highest priority first, then the oldest. What will begin at
-- once is RUNNING and has spent an attempt; what waits in the worker is ASSIGNED and has not.
-- Locks: queue rows, skipping those that others hold, then their jobs. A job that is not PENDING
-- any more is not revived: its place goes, and nothing else happens.
-- With /* beyond */ filled in, it looks only beyond the place where the last claim of the same queue
-- and priority stopped: what lies before is dead, and walking over it costs while a transaction
-- elsewhere keeps it from being removed. Index: job_queue_claim_idx. The arrays, and IS TRUE around
-- the state, leave the planner no other way to the rows than their keys: it would guess one row, and
-- go through an index of states for each. A time that no clock of ours can show must not cost the
-- others of a claim their leases: it is the next one that it can, or none.
WITH pick AS MATERIALIZED (
    SELECT q.id, q.job_id, q.priority
      FROM unnest(%(queues)s::text[], %(priorities)s::int[], %(after)s::bigint[])
           AS wanted (queue, priority, after)
     CROSS JOIN LATERAL (
           SELECT e.id, e.job_id, e.priority FROM job_queue AS e
            WHERE e.queue = wanted.queue /* beyond */
            ORDER BY e.priority DESC, e.id
            LIMIT %(number)s
              FOR UPDATE SKIP LOCKED
           ) AS q
     ORDER BY q.priority DESC, q.id
     LIMIT %(number)s
), gone AS (
    DELETE FROM job_queue AS q WHERE q.id = ANY(ARRAY(SELECT id FROM pick))
    RETURNING q.job_id, q.priority, q.id AS place, q.queue, q.enqueued_at
), ranked AS (
    SELECT job_id, priority, place, queue, enqueued_at,
           row_number() OVER (ORDER BY priority DESC, place) <= %(starting)s AS starts
      FROM gone
), taken AS (
    UPDATE jobs AS j
       SET state = CASE WHEN ranked.starts THEN 'RUNNING' ELSE 'ASSIGNED' END,
           attempts = j.attempts + ranked.starts::int,
           started_at = CASE WHEN ranked.starts THEN clock_timestamp() ELSE j.started_at END,
           worker_id = %(worker)s, updated_at = clock_timestamp()
      FROM ranked
     WHERE j.id = ANY(ARRAY(SELECT job_id FROM gone)) AND j.id = ranked.job_id
       AND (j.state = 'PENDING') IS TRUE
    RETURNING j.id, j.spec, j.attempts, j.max_attempts, j.timeout, j.name, j.correlation_id,
              j.trace_parent, j.created_at, j.started_at, j.lost_leases, j.metadata, j.state,
              ranked.priority, ranked.place, ranked.queue, ranked.enqueued_at,
              nextval('job_leases_epoch_seq') AS epoch
), leased AS (
    INSERT INTO job_leases (job_id, worker_id, epoch, expires_at, acquired_at, place, enqueued_at)
    SELECT id, %(worker)s, epoch, clock_timestamp() + %(seconds)s * interval '1 second',
           clock_timestamp(), place, enqueued_at
      FROM taken
)/*told , changed AS (
    SELECT id, CASE state WHEN 'RUNNING' THEN 'JobStarted' ELSE 'JobAssigned' END AS event, name,
           correlation_id, trace_parent,
           jsonb_build_object('state', state, 'queue', queue, 'attempts', attempts,
                              'worker_id', %(worker)s::uuid) AS facts
      FROM taken
){parts}*/
SELECT taken.id, taken.epoch, taken.spec::text, taken.attempts, taken.max_attempts,
       extract(epoch FROM taken.timeout)::float8, taken.name, taken.correlation_id,
       taken.trace_parent,
       least(greatest(taken.created_at, '0001-01-03 00:00+00'), '9999-12-29 00:00+00'),
       CASE WHEN taken.started_at BETWEEN '0001-01-03 00:00+00' AND '9999-12-29 00:00+00'
            THEN taken.started_at END,
       taken.lost_leases,
       taken.metadata::text, taken.state = 'RUNNING', taken.priority, taken.place, taken.queue
  FROM taken
 ORDER BY taken.priority DESC, taken.place
