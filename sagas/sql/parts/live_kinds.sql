-- Every version of a kind that has a saga which is live, from one to the next: the first rows of a
-- statement. Index: sagas_live_idx.
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
)
