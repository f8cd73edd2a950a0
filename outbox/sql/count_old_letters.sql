-- What prune_letters would delete. Index: idx_dlq_moved_at.
SELECT count(*) FROM outbox_dlq AS d
 WHERE d.moved_at < %(before)s::timestamptz AND d.resolved_at < %(before)s::timestamptz
   AND NOT EXISTS (SELECT FROM outbox_keys AS k WHERE k.event_id = d.original_event_id)
   AND NOT EXISTS (SELECT FROM outbox_events AS e
                    WHERE e.id = d.original_event_id AND e.status = 'PENDING')
