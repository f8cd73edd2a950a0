-- Prolong leases; returns those that are still ours. What somebody is writing to is left for the
-- next time.
UPDATE sagas AS s
   SET lease_until = clock_timestamp() + make_interval(secs => %(seconds)s),
       due_at = clock_timestamp() + make_interval(secs => %(seconds)s)
  FROM (
    SELECT s.id FROM unnest(%(ids)s::uuid[], %(epochs)s::bigint[]) AS h (id, epoch)
      JOIN sagas AS s ON s.id = h.id AND s.lease_epoch = h.epoch
     WHERE s.lease_owner IS NOT NULL
       FOR NO KEY UPDATE OF s SKIP LOCKED
  ) AS held
 WHERE s.id = held.id
RETURNING s.id
