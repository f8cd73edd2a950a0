-- How many sagas are live, by state, and how many of them have been due for a while; counted no
-- further than a cap, from one version of a kind to the next.
-- Indexes: sagas_live_idx, idx_sagas_state.
WITH RECURSIVE kinds AS (
    (SELECT saga_type, definition_version FROM sagas
      WHERE state IN ('PENDING', 'IN_PROGRESS', 'COMPENSATING')
      ORDER BY saga_type, definition_version LIMIT 1)
    UNION ALL
    SELECT n.saga_type, n.definition_version
      FROM kinds AS k
     CROSS JOIN LATERAL (
           SELECT s.saga_type, s.definition_version FROM sagas AS s
            WHERE s.state IN ('PENDING', 'IN_PROGRESS', 'COMPENSATING')
              AND (s.saga_type, s.definition_version) > (k.saga_type, k.definition_version)
            ORDER BY s.saga_type, s.definition_version LIMIT 1) AS n
), untaken AS (
    SELECT due.due_at
      FROM kinds AS k
     CROSS JOIN unnest(ARRAY['PENDING', 'IN_PROGRESS', 'COMPENSATING']) AS l (state)
     CROSS JOIN LATERAL (
           SELECT s.due_at FROM sagas AS s
            WHERE s.saga_type = k.saga_type AND s.definition_version = k.definition_version
              AND s.state = l.state AND s.state IN ('PENDING', 'IN_PROGRESS', 'COMPENSATING')
              AND s.due_at < statement_timestamp() - %(untaken)s
            ORDER BY s.due_at LIMIT %(cap)s) AS due
)
SELECT (SELECT count(*) FROM (SELECT FROM sagas WHERE state = 'PENDING' LIMIT %(cap)s) AS s),
       (SELECT count(*) FROM (SELECT FROM sagas WHERE state = 'IN_PROGRESS' LIMIT %(cap)s) AS s),
       (SELECT count(*) FROM (SELECT FROM sagas WHERE state = 'COMPENSATING' LIMIT %(cap)s) AS s),
       (SELECT count(*) FROM (SELECT FROM untaken LIMIT %(cap)s) AS s),
       statement_timestamp() - (SELECT min(due_at) FROM untaken)
