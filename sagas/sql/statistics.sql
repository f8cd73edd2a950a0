-- How many sagas are live, by state, and how many of them have been due for a while; counted no
-- further than a cap, from one version of a kind to the next.
-- Indexes: sagas_live_idx, idx_sagas_state.
\ir parts/live_kinds.sql
, untaken AS (
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
