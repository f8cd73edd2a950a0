-- Hold these aggregates (type:id) alone until the transaction ends, in order.
SELECT count(pg_advisory_xact_lock(key))
  FROM (SELECT DISTINCT hashtextextended(name, 0) AS key
          FROM unnest(%(names)s::text[]) AS n (name) ORDER BY key) AS keys
