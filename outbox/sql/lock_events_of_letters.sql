-- The events of these dead letters, which the caller has locked: they stay as they are, and what is
-- just being delivered after all is waited for.
SELECT e.id FROM outbox_events AS e
 WHERE e.id IN (SELECT d.original_event_id FROM outbox_dlq AS d WHERE d.id = ANY(%(ids)s::uuid[]))
 ORDER BY e.id
   FOR NO KEY UPDATE OF e
