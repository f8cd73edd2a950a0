-- What was done last with each of these dead letters. Index: outbox_dlq_actions_entry_idx.
SELECT d.id, newest.action
  FROM unnest(%(ids)s::uuid[]) AS d (id)
 CROSS JOIN LATERAL (SELECT a.action FROM outbox_dlq_actions AS a
                      WHERE a.dlq_id = d.id ORDER BY a.id DESC LIMIT 1) AS newest
