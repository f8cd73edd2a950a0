-- Followers of an event that failed in the same batch. Only while their aggregate waits: where somebody
-- has taken the event away meanwhile it does not, and nobody would let them go.
-- Index: outbox_keys_aggregate_key.
UPDATE outbox_events AS e SET held = true
 WHERE e.id = ANY(%(ids)s::uuid[]) AND e.status = 'PENDING'
   AND EXISTS (SELECT FROM outbox_keys AS k
                WHERE k.destination = e.destination AND k.aggregate_type = e.aggregate_type
                  AND k.aggregate_id = e.aggregate_id)
