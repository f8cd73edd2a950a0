-- Lease an orchestrated job that is due to one worker: to the given one, or to the one that has the
-- fewest of them, and of those rather to one that is READY. One that is BUSY with a job of the queue
-- has it next, so that a queue that never ends starves nobody. Nothing returns where the job is not
-- free, or no such worker has room.
-- Locks: the job and the worker, without waiting, since others take these in either order.
-- Indexes: idx_workers_state, jobs_orchestrated_idx.
WITH busy AS MATERIALIZED (
    SELECT worker_id, count(*) AS jobs FROM jobs
     WHERE orchestrated AND state IN ('ASSIGNED', 'RUNNING')
     GROUP BY worker_id
), worker AS MATERIALIZED (
    SELECT w.id
      FROM jobs AS j
     CROSS JOIN workers AS w
      LEFT JOIN busy ON busy.worker_id = w.id
     WHERE j.id = %(job)s AND j.orchestrated AND j.state = 'PENDING'
       AND (j.run_after IS NULL OR j.run_after <= clock_timestamp())
       AND w.state IN ('READY', 'BUSY') AND (%(worker)s::uuid IS NULL OR w.id = %(worker)s::uuid)
       AND coalesce(w.last_heartbeat, w.created_at)
           > clock_timestamp() - %(silence)s * interval '1 second'
       AND CASE WHEN jsonb_typeof(w.spec -> 'queues') = 'array'
                 AND jsonb_array_length(w.spec -> 'queues') > 0
                THEN w.spec -> 'queues' @> to_jsonb(j.queue) ELSE true END
       AND coalesce(busy.jobs, 0) < CASE WHEN jsonb_typeof(w.spec -> 'concurrency') = 'number'
                                         THEN (w.spec ->> 'concurrency')::numeric ELSE 1 END
     ORDER BY coalesce(busy.jobs, 0), w.state DESC, w.last_heartbeat DESC NULLS LAST
     LIMIT 1
       FOR NO KEY UPDATE OF j SKIP LOCKED
       FOR UPDATE OF w SKIP LOCKED
), taken AS (
    UPDATE jobs AS j
       SET state = 'ASSIGNED', worker_id = worker.id, updated_at = clock_timestamp()
      FROM worker
     WHERE j.id = %(job)s AND j.orchestrated AND (j.state = 'PENDING') IS TRUE
    RETURNING j.id, worker.id AS worker_id, nextval('job_leases_epoch_seq') AS epoch
), leased AS (
    INSERT INTO job_leases (job_id, worker_id, epoch, expires_at, acquired_at)
    SELECT id, worker_id, epoch, clock_timestamp() + %(seconds)s * interval '1 second',
           clock_timestamp()
      FROM taken
)
SELECT worker_id, epoch, pg_notify(%(channel)s, '') FROM taken
