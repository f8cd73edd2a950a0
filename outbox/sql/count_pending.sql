-- What waits, counted no further than a cap, how old the oldest of all is, and when the newest of
-- the last minute were published. Whatever was published before costs nothing.
-- Indexes: outbox_events_pending_idx, outbox_events_held_idx, outbox_events_oldest_idx,
-- outbox_events_published_idx. The orders keep the planner from reading the table instead.
SELECT statement_timestamp(),
       (SELECT count(*) FROM (SELECT FROM outbox_events WHERE status = 'PENDING' AND NOT held
                               ORDER BY destination, lane, seq LIMIT %(cap)s + 1) AS ready),
       (SELECT count(*) FROM (SELECT FROM outbox_events WHERE status = 'PENDING' AND held
                               ORDER BY aggregate_id, seq LIMIT %(cap)s + 1) AS held),
       oldest.created_at,
       extract(epoch FROM statement_timestamp() - oldest.created_at)::float8,
       newest.number,
       extract(epoch FROM statement_timestamp() - newest.first_at)::float8
  FROM (SELECT min(created_at) AS created_at FROM outbox_events
         WHERE status = 'PENDING' AND published_at IS NULL) AS oldest
 CROSS JOIN (SELECT count(*) AS number, min(published_at) AS first_at
               FROM (SELECT published_at FROM outbox_events
                      WHERE status = 'PUBLISHED'
                        AND published_at > statement_timestamp() - interval '1 minute'
                      ORDER BY published_at DESC LIMIT %(cap)s) AS minute) AS newest
