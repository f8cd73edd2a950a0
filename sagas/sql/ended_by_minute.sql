-- Sagas that ended in each minute of the last hour, by how: of each minute and way the first so many.
-- Index: idx_saga_audit_type. Sagas themselves have no index of their end; their audit has.
SELECT m.began, a.how, count(a.how)
  FROM generate_series(date_trunc('minute', statement_timestamp()) - interval '59 minutes',
                       date_trunc('minute', statement_timestamp()), interval '1 minute')
       AS m (began)
  LEFT JOIN LATERAL (
       SELECT w.how
         FROM (VALUES ('SAGA_COMPLETED', 'completed'), ('SAGA_COMPENSATED', 'undone'),
                      ('SAGA_CANCELLED', 'undone'),
                      ('SAGA_COMPENSATION_FAILED', 'left behind')) AS w (event_type, how)
        CROSS JOIN LATERAL (
              SELECT FROM saga_audit_events AS e
               WHERE e.event_type = w.event_type AND e.occurred_at >= m.began
                 AND e.occurred_at < m.began + interval '1 minute'
               ORDER BY e.occurred_at LIMIT %(most)s) AS one) AS a ON true
 GROUP BY m.began, a.how
 ORDER BY m.began
