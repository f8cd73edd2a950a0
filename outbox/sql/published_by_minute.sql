-- Events that were delivered in each minute of the last hour: of each minute the first so many.
-- Index: outbox_events_published_idx.
SELECT m.began, e.what, count(e.what)
  FROM generate_series(date_trunc('minute', statement_timestamp()) - interval '59 minutes',
                       date_trunc('minute', statement_timestamp()), interval '1 minute')
       AS m (began)
  LEFT JOIN LATERAL (
       SELECT 'delivered' AS what FROM outbox_events
        WHERE status = 'PUBLISHED'
          AND published_at >= m.began AND published_at < m.began + interval '1 minute'
        ORDER BY published_at LIMIT %(most)s) AS e ON true
 GROUP BY m.began, e.what
 ORDER BY m.began
