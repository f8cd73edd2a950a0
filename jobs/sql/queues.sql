-- The queues that have jobs now, the first so many by their names, by a walk from one to the next: it
-- reads one entry for each.
WITH RECURSIVE found AS (
    (SELECT queue FROM job_queue ORDER BY queue LIMIT 1)
     UNION ALL
    SELECT (SELECT q.queue FROM job_queue AS q WHERE q.queue > found.queue ORDER BY q.queue LIMIT 1)
      FROM found WHERE found.queue IS NOT NULL
)
SELECT queue FROM found WHERE queue IS NOT NULL LIMIT %(most)s
