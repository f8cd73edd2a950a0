-- Jobs that were enqueued in each minute of the last hour, by how they stand now: of each minute and
-- state the first so many. Index: jobs_state_created_idx. No index has the time at which jobs end.
SELECT m.began, j.stands, count(j.stands)
  FROM generate_series(date_trunc('minute', statement_timestamp()) - interval '59 minutes',
                       date_trunc('minute', statement_timestamp()), interval '1 minute')
       AS m (began)
  LEFT JOIN LATERAL (
       SELECT w.stands
         FROM (VALUES ('SUCCEEDED', 'succeeded'), ('FAILED', 'failed'), ('TIMEOUT', 'failed'),
                      ('CANCELLED', 'cancelled'), ('CREATED', 'not ended'),
                      ('PENDING', 'not ended'), ('ASSIGNED', 'not ended'),
                      ('SCHEDULED', 'not ended'), ('RUNNING', 'not ended'),
                      ('MANUAL_INTERVENTION_REQUIRED', 'not ended')) AS w (state, stands)
        CROSS JOIN LATERAL (
              SELECT FROM jobs AS one
               WHERE one.state = w.state AND one.created_at >= m.began
                 AND one.created_at < m.began + interval '1 minute'
               ORDER BY one.created_at LIMIT %(most)s) AS one) AS j ON true
 GROUP BY m.began, j.stands
 ORDER BY m.began
