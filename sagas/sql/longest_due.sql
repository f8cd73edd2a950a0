-- Live sagas that have been due for a while and that nobody has taken: of each version of a kind, in
-- each state, so many that have waited longest; and whether a runner drives others that were started
-- with the same steps, among those that are due next: what is driven is due when its lease ends, which is soon.
-- Index: sagas_live_idx.
\ir parts/live_kinds.sql
SELECT due.id, k.saga_type, k.definition_version, due.steps_hash, due.due_at,
       coalesce(due.steps_hash = ANY (driven.hashes), false)
  FROM kinds AS k
 CROSS JOIN LATERAL (
       SELECT array_agg(next.steps_hash) AS hashes
         FROM unnest(ARRAY['PENDING', 'IN_PROGRESS', 'COMPENSATING']) AS l (state)
        CROSS JOIN LATERAL (
              SELECT s.steps_hash, s.lease_until FROM sagas AS s
               WHERE s.saga_type = k.saga_type AND s.definition_version = k.definition_version
                 AND s.state = l.state AND s.state IN ('PENDING', 'IN_PROGRESS', 'COMPENSATING')
                 AND s.due_at > statement_timestamp()
                 AND s.due_at < statement_timestamp() + interval '5 minutes'
               ORDER BY s.due_at LIMIT %(each)s) AS next
        WHERE next.lease_until > statement_timestamp()) AS driven
 CROSS JOIN unnest(ARRAY['PENDING', 'IN_PROGRESS', 'COMPENSATING']) AS l (state)
 CROSS JOIN LATERAL (
       SELECT s.id, s.steps_hash, s.due_at FROM sagas AS s
        WHERE s.saga_type = k.saga_type AND s.definition_version = k.definition_version
          AND s.state = l.state AND s.state IN ('PENDING', 'IN_PROGRESS', 'COMPENSATING')
          AND s.due_at < statement_timestamp() - %(untaken)s
        ORDER BY s.due_at LIMIT %(each)s) AS due
 ORDER BY due.due_at, due.id
