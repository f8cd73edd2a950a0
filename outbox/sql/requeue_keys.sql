-- What these aggregates wait behind may be sent now, before all that waits behind it.
-- Index: outbox_keys_event_idx.
UPDATE outbox_keys AS k
   SET state = 'BACKOFF', retry_at = NULL, dead_letter_id = NULL
  FROM outbox_dlq AS d
 WHERE d.id = ANY(%(ids)s::uuid[]) AND k.event_id = d.original_event_id
   AND k.destination = d.destination
