-- Store sagas of one kind and their steps, in their order: false for one whose key a live saga has.
-- Each has its share of step_ids. In the caller's transaction; wakes a runner that sleeps.
SELECT sagas_start(t.id, %(kind)s, %(version)s, %(hash)s, t.input::jsonb, t.key, %(correlation_id)s,
                   %(actor)s, %(trace_parent)s, %(deadline)s::float8,
                   (%(step_ids)s::uuid[])[(t.place - 1) * cardinality(n.names) + 1
                                          : t.place * cardinality(n.names)],
                   n.names, %(message)s, %(payload)s::jsonb)
  FROM unnest(%(ids)s::uuid[], %(inputs)s::text[], %(keys)s::text[])
       WITH ORDINALITY AS t (id, input, key, place),
       (VALUES (%(names)s::text[])) AS n (names)
 ORDER BY t.place
