-- Aggregates that are held back: as many rows as there are.
SELECT destination, state, count(*) FROM outbox_keys GROUP BY destination, state
