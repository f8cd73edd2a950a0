-- Hold these lanes alone until the transaction ends, in order.
SELECT count(pg_advisory_xact_lock(%(turn)s, lane))
  FROM (SELECT DISTINCT lane FROM unnest(%(lanes)s::int[]) AS l (lane) ORDER BY lane) AS lanes
