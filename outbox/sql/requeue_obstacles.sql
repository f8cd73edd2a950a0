-- Dead letters whose events cannot be sent again: they were delivered after all, or are gone and
-- their idempotency key is another's. Indexes: outbox_events_pkey, outbox_events_idempotency_key_key.
SELECT d.id, d.original_event_id, e.id IS NOT NULL, e.published_at, d.idempotency_key, o.id
  FROM outbox_dlq AS d
  LEFT JOIN outbox_events AS e ON e.id = d.original_event_id AND e.status = 'PUBLISHED'
  LEFT JOIN outbox_events AS o
    ON o.idempotency_key = d.idempotency_key AND o.id <> d.original_event_id
 WHERE d.id = ANY(%(ids)s::uuid[]) AND (e.id IS NOT NULL OR o.id IS NOT NULL)
