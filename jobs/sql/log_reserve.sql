-- Files that are about to be written: garbage from tomorrow on, unless a row of job_log_files names
-- them by then. Returns for each its note, and what the job's log has already.
WITH given AS (
    SELECT * FROM unnest(%(ids)s::uuid[], %(uris)s::text[]) AS g (job_id, uri)
), noted AS (
    INSERT INTO job_log_garbage (storage_uri, since)
    SELECT uri, clock_timestamp() + interval '1 day' FROM given
    RETURNING id, storage_uri
)
SELECT given.uri, noted.id, f.storage_uri, f.size_bytes, f.entry_count
  FROM given JOIN noted ON noted.storage_uri = given.uri
  LEFT JOIN job_log_files AS f ON f.job_id = given.job_id
