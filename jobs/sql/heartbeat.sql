-- A sign of life; no row returns where the worker is unknown or was ended, and then it must stop.
-- Touches no index, so the row stays within its page.
UPDATE workers SET last_heartbeat = clock_timestamp(), updated_at = clock_timestamp()
 WHERE id = %(worker)s AND state NOT IN ('TERMINATED', 'FAILED')
RETURNING state
