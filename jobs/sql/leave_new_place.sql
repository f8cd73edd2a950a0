-- A job's places, where others gave it one while its row was waited for; whoever has the place just
-- then takes it away. See Note [Order of locks].
WITH later AS (
    DELETE FROM job_queue_deferred
     WHERE job_id IN (SELECT job_id FROM job_queue_deferred
                       WHERE job_id = %(job)s FOR UPDATE SKIP LOCKED)
)
DELETE FROM job_queue
 WHERE job_id IN (SELECT job_id FROM job_queue WHERE job_id = %(job)s FOR UPDATE SKIP LOCKED)
