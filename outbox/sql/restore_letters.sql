-- Open again; who had closed it, and why, stays among its actions.
WITH opened AS (
    UPDATE outbox_dlq SET resolved_at = NULL, resolved_by = NULL, resolution_notes = NULL
     WHERE id = ANY(%(ids)s::uuid[]) AND resolved_at IS NOT NULL
    RETURNING id
)
INSERT INTO outbox_dlq_actions (dlq_id, action, actor, note, batch_id, occurred_at)
SELECT id, %(action)s, %(by)s, %(note)s, %(batch_id)s::uuid, clock_timestamp() FROM opened
