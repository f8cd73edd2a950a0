-- Dealt with: by whom, when and why, in the letter and among its actions.
WITH closed AS (
    UPDATE outbox_dlq
       SET resolved_at = clock_timestamp(), resolved_by = %(by)s, resolution_notes = %(note)s
     WHERE id = ANY(%(ids)s::uuid[]) AND resolved_at IS NULL
    RETURNING id, resolved_at
)
INSERT INTO outbox_dlq_actions (dlq_id, action, actor, note, batch_id, details, occurred_at)
SELECT id, %(action)s, %(by)s, %(note)s, %(batch_id)s::uuid, %(details)s::jsonb, resolved_at
  FROM closed
