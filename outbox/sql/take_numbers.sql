-- The numbers of so many events to come, ascending.
WITH numbers AS MATERIALIZED (
    SELECT pg_get_serial_sequence('outbox_events', 'seq')::regclass AS sequence
)
SELECT nextval(sequence) FROM numbers, generate_series(1, %(events)s)
