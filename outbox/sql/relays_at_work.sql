-- The relays that have reported, the dead ones of the last minutes among them.
SELECT destination, owner, started_at, wakes_by, breaker, breaker_since, breaker_error,
       extract(epoch FROM clock_timestamp() - seen_at)::float8
  FROM outbox_relays
 ORDER BY destination, owner
