-- Whether an aggregate waits behind this event. Index: outbox_keys_event_idx.
SELECT 1 FROM outbox_keys WHERE event_id = %(event_id)s FOR NO KEY UPDATE
