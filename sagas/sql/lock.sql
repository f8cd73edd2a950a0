-- A saga for whoever decides something about it: runners wait until that is committed.
SELECT s.id, s.saga_type, s.definition_version, s.state, (coalesce(s.metadata, '{}'::jsonb) - '_repaired')::text,
       s.lease_epoch, s.correlation_id, s.actor, s.error_message, s.incident, s.deadline_at,
       s.pause_requested_at, s.cancel_requested_at, s.lost_leases,
       s.lease_owner IS NOT NULL AND s.lease_until > clock_timestamp() AS held,
       s.lease_owner, s.steps_hash, clock_timestamp()
  FROM sagas AS s WHERE s.id = %(id)s
   FOR NO KEY UPDATE
