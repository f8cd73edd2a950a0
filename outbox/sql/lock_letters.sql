-- These dead letters, by their own ids or those of their events, for whoever is first. In the order
-- of their events, as a relay that buries one again.
SELECT d.id, d.original_event_id, d.aggregate_type, d.aggregate_id, d.aggregate_key, d.destination,
       d.resolved_at, d.resolved_by, d.resolution_notes
  FROM outbox_dlq AS d
 WHERE d.id = ANY(%(ids)s::uuid[]) OR d.original_event_id = ANY(%(ids)s::uuid[])
 ORDER BY d.original_event_id
   FOR UPDATE OF d
