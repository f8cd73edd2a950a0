-- The events of these dead letters, before the letters: a relay that buries one takes them in this
-- order, too.
SELECT e.id FROM outbox_events AS e
 WHERE e.id IN (SELECT d.original_event_id FROM outbox_dlq AS d
                 WHERE d.id = ANY(%(ids)s::uuid[]) OR d.original_event_id = ANY(%(ids)s::uuid[]))
 ORDER BY e.id
   FOR NO KEY UPDATE OF e
