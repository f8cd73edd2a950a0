-- Seconds until the next retry time of these lanes; NULL where nothing waits for one.
SELECT extract(epoch FROM min(retry_at) - clock_timestamp())::float8
  FROM outbox_keys
 WHERE destination = %(destination)s AND lane = ANY(%(lanes)s::smallint[]) AND state = 'BACKOFF'
