-- Followers of an event that failed in the same batch.
UPDATE outbox_events SET held = true WHERE id = ANY(%(ids)s::uuid[]) AND status = 'PENDING'
