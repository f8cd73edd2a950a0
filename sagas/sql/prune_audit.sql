-- Delete audit events that are so old, of sagas that are gone.
DELETE FROM saga_audit_events
 WHERE id IN (
    SELECT id FROM saga_audit_events AS e
     WHERE occurred_at < statement_timestamp() - %(age)s::interval
       AND NOT EXISTS (SELECT FROM sagas WHERE sagas.id = e.saga_id)
     LIMIT %(batch)s)
