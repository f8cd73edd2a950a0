-- Wake whoever sleeps on one of these queues.
SELECT CASE WHEN pg_try_advisory_lock_shared(%(gate)s, hashtext(queue))
            THEN pg_advisory_unlock_shared(%(gate)s, hashtext(queue))::text
            ELSE pg_notify(%(channel)s, '')::text END
  FROM unnest(%(queues)s::text[]) AS q (queue)
