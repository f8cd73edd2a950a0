-- Wake whoever sleeps on one of these lanes.
SELECT CASE WHEN pg_try_advisory_lock_shared(%(gate)s, lane)
            THEN pg_advisory_unlock_shared(%(gate)s, lane)::text
            ELSE pg_notify(%(channel)s, '')::text END
  FROM unnest(%(lanes)s::int[]) AS l (lane)
