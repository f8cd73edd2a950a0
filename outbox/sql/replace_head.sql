-- The copy of a dead event is what its aggregate waits behind from now on, and may be sent.
-- Index: outbox_keys_event_idx.
UPDATE outbox_keys AS k
   SET state = 'BACKOFF', event_id = %(copy)s, retry_at = NULL, dead_letter_id = NULL
  FROM outbox_dlq AS d
 WHERE d.id = %(letter)s AND k.event_id = d.original_event_id AND k.destination = d.destination
