-- Files that were written, of runs whose lease is still ours: each is the job's log from now on, and
-- the one before is garbage; its own note goes, which is found by its number however much garbage there is. Locks: leases, so that one that is lost meanwhile is noticed.
WITH given AS (
    SELECT * FROM unnest(%(ids)s::uuid[], %(epochs)s::bigint[], %(uris)s::text[],
                         %(sizes)s::bigint[], %(lines)s::bigint[], %(hours)s::float8[],
                         %(notes)s::bigint[])
                  AS g (job_id, epoch, uri, size, lines, hours, note)
), mine AS MATERIALIZED (
    SELECT given.* FROM job_leases AS l JOIN given
        ON l.job_id = given.job_id AND l.epoch = given.epoch
     WHERE l.job_id = ANY(%(ids)s::uuid[])
     ORDER BY l.job_id
       FOR UPDATE OF l
), replaced AS (
    INSERT INTO job_log_garbage (storage_uri)
    SELECT f.storage_uri FROM job_log_files AS f JOIN mine ON mine.job_id = f.job_id
     WHERE f.storage_uri <> mine.uri
), written AS (
    INSERT INTO job_log_files (job_id, storage_uri, size_bytes, entry_count, expires_at)
    SELECT job_id, uri, size, least(lines, 2147483647),
           clock_timestamp() + hours * interval '1 hour'
      FROM mine ORDER BY job_id
        ON CONFLICT (job_id) DO UPDATE
       SET storage_uri = excluded.storage_uri, size_bytes = excluded.size_bytes,
           entry_count = excluded.entry_count,
           expires_at = greatest(job_log_files.expires_at, excluded.expires_at)
), kept AS (
    DELETE FROM job_log_garbage AS g USING mine
     WHERE g.id = ANY(%(notes)s::bigint[]) AND g.id = mine.note
), followed AS (
    DELETE FROM job_log_tails AS t USING mine WHERE t.job_id = mine.job_id
)
SELECT uri FROM mine
