-- Seconds until the next saga of these kinds is due; NULL where none is.
SELECT extract(epoch FROM min(s.due_at) - clock_timestamp())::float8
  FROM unnest(%(kinds)s::text[], %(versions)s::int[]) AS w (kind, version)
 CROSS JOIN (VALUES ('PENDING'), ('IN_PROGRESS'), ('COMPENSATING')) AS t (state)
 CROSS JOIN LATERAL (
    SELECT due_at FROM sagas
     WHERE saga_type = w.kind AND definition_version = w.version AND state = t.state
       AND state IN ('PENDING', 'IN_PROGRESS', 'COMPENSATING') AND due_at > statement_timestamp()
     ORDER BY due_at LIMIT 1
 ) AS s
