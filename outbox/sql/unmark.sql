-- They were not sent after all, and the process lives.
UPDATE outbox_events SET attempts_started = attempts_finished
 WHERE id = ANY(%(ids)s::uuid[]) AND status = 'PENDING' AND attempts_started > attempts_finished
