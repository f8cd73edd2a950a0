-- What prune_events would delete. Index: outbox_events_published_idx.
SELECT count(*) FROM outbox_events AS e
 WHERE e.status = 'PUBLISHED' AND e.published_at < %(before)s::timestamptz AND NOT e.held
   AND NOT EXISTS (SELECT FROM outbox_dlq AS d
                    WHERE d.original_event_id = e.id AND d.resolved_at IS NULL)
