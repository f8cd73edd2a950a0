-- Which of these keys events have. Index: outbox_events_idempotency_key_key.
SELECT idempotency_key FROM outbox_events WHERE idempotency_key = ANY(%(keys)s::text[])
