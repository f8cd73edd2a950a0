-- Delete sagas that ended in one of these states so long ago, with their steps and attempts, in the
-- order in which they were started: what an earlier batch has deleted is not read again. Locks: the
-- rows, unless somebody has them. Index: idx_sagas_started_at.
WITH gone AS (
    DELETE FROM sagas
     WHERE ctid = ANY(ARRAY(
               SELECT ctid FROM sagas
                WHERE started_at >= %(since)s::timestamptz
                  AND started_at < statement_timestamp() - %(age)s::interval
                  AND coalesce(completed_at, updated_at)
                      < statement_timestamp() - %(age)s::interval
                  AND state = ANY(%(states)s::text[])
                ORDER BY started_at
                LIMIT %(batch)s
                  FOR UPDATE SKIP LOCKED))
    RETURNING started_at
)
SELECT count(*), max(started_at)::text FROM gone
