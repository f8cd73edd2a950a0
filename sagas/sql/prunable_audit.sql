-- How many audit events are so old, of sagas that are gone; counted up to a limit.
SELECT count(*) FROM (
    SELECT FROM saga_audit_events AS e
     WHERE occurred_at < statement_timestamp() - %(age)s::interval
       AND NOT EXISTS (SELECT FROM sagas WHERE sagas.id = e.saga_id)
     LIMIT %(most)s) AS s
