-- Whether a saga of one of these kinds is due.
SELECT EXISTS (
    SELECT FROM unnest(%(kinds)s::text[], %(versions)s::int[]) AS w (kind, version)
     CROSS JOIN (VALUES ('PENDING'), ('IN_PROGRESS'), ('COMPENSATING')) AS t (state)
     CROSS JOIN LATERAL (
        SELECT FROM sagas
         WHERE saga_type = w.kind AND definition_version = w.version AND state = t.state
           AND state IN ('PENDING', 'IN_PROGRESS', 'COMPENSATING')
           AND due_at <= statement_timestamp()
         LIMIT 1
     ) AS s)
