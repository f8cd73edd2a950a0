-- Share these lanes until the transaction ends, in order, so that two who do it cannot cross.
SELECT count(pg_advisory_xact_lock_shared(%(turn)s, lane))
  FROM (SELECT DISTINCT lane FROM unnest(%(lanes)s::int[]) AS l (lane) ORDER BY lane) AS lanes
