-- Sagas whose leases are still ours, as they are now, under a new epoch: whatever this runner has sent
-- and got no answer to does nothing from here on. It may be at it still, so the sagas are locked in
-- their order.
UPDATE sagas AS s
   SET lease_epoch = s.lease_epoch + 1,
       lease_until = clock_timestamp() + make_interval(secs => %(seconds)s),
       due_at = clock_timestamp() + make_interval(secs => %(seconds)s)
  FROM (
    SELECT s.id FROM unnest(%(ids)s::uuid[], %(epochs)s::bigint[]) AS h (id, epoch)
      JOIN sagas AS s ON s.id = h.id AND s.lease_epoch = h.epoch
     WHERE s.lease_owner = %(owner)s
     ORDER BY s.id
       FOR NO KEY UPDATE OF s
  ) AS held
 WHERE s.id = held.id
RETURNING s.id, s.saga_type, s.definition_version, s.state,
          (coalesce(s.metadata, '{}'::jsonb) - '_repaired')::text,
          s.lease_epoch, s.correlation_id, s.actor, s.error_message, s.incident, s.deadline_at,
          s.pause_requested_at, s.cancel_requested_at, s.lost_leases, clock_timestamp()
