-- Wake a runner that sleeps.
SELECT CASE WHEN pg_try_advisory_lock_shared(%(gate)s, %(place)s)
            THEN pg_advisory_unlock_shared(%(gate)s, %(place)s)::text
            ELSE pg_notify(%(channel)s, '')::text END
