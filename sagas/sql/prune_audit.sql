-- Delete audit events that are so old, of sagas that are gone, in their order: what an earlier batch
-- has deleted is not read again. Indexes: idx_saga_audit_occurred_at, and sagas_pkey once for each,
-- which the LIMIT leaves no other way.
WITH gone AS (
    DELETE FROM saga_audit_events
     WHERE ctid = ANY(ARRAY(
               SELECT e.ctid FROM saga_audit_events AS e
                WHERE e.occurred_at >= %(since)s::timestamptz
                  AND e.occurred_at < statement_timestamp() - %(age)s::interval
                  AND (SELECT true FROM sagas WHERE sagas.id = e.saga_id LIMIT 1) IS NULL
                ORDER BY e.occurred_at
                LIMIT %(batch)s))
    RETURNING occurred_at
)
SELECT count(*), max(occurred_at)::text FROM gone
