-- Sagas whose leases are still ours, as they are now.
SELECT s.id, s.saga_type, s.definition_version, s.state, (coalesce(s.metadata, '{}'::jsonb) - '_repaired')::text,
       s.lease_epoch, s.correlation_id, s.actor, s.error_message, s.incident, s.deadline_at,
       s.pause_requested_at, s.cancel_requested_at, clock_timestamp()
  FROM unnest(%(ids)s::uuid[], %(epochs)s::bigint[]) AS held (id, epoch)
  JOIN sagas AS s ON s.id = held.id AND s.lease_epoch = held.epoch
 WHERE s.lease_owner = %(owner)s
