-- Of requeued events whose aggregates wait behind other ones: which. Index: outbox_keys_aggregate_key.
SELECT d.id, k.event_id
  FROM outbox_dlq AS d
  JOIN outbox_keys AS k
    ON k.destination = d.destination AND k.aggregate_type = d.aggregate_type
   AND k.aggregate_id = d.aggregate_id AND k.event_id <> d.original_event_id
 WHERE d.id = ANY(%(ids)s::uuid[])
