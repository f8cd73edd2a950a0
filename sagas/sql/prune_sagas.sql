-- Delete sagas that ended in one of these states so long ago, with their steps and attempts.
DELETE FROM sagas
 WHERE id IN (
    SELECT id FROM sagas
     WHERE state = ANY(%(states)s::text[])
       AND completed_at < statement_timestamp() - %(age)s::interval
     LIMIT %(batch)s
       FOR UPDATE SKIP LOCKED)
