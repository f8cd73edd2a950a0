-- How many sagas ended in one of these states so long ago; counted up to a limit.
SELECT count(*) FROM (
    SELECT FROM sagas
     WHERE state = ANY(%(states)s::text[])
       AND coalesce(completed_at, updated_at) < statement_timestamp() - %(age)s::interval
     LIMIT %(most)s) AS s
