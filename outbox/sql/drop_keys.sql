-- The aggregates whose first event is out of the way; what waits behind is let go by the next
-- statement of the same transaction.
DELETE FROM outbox_keys
 WHERE destination = %(destination)s AND event_id = ANY(%(ids)s::uuid[])
RETURNING aggregate_type, aggregate_id
