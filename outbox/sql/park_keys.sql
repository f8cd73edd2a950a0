-- The aggregates of dead events wait for a person.
INSERT INTO outbox_keys AS k (destination, lane, aggregate_type, aggregate_id, state, event_id,
                              dead_letter_id)
SELECT %(destination)s, lane, type, aggregate, 'PARKED', id, letter
  FROM unnest(%(lanes)s::smallint[], %(types)s::text[], %(aggregates)s::uuid[], %(ids)s::uuid[],
              %(letters)s::uuid[]) AS dead (lane, type, aggregate, id, letter)
    ON CONFLICT (destination, aggregate_type, aggregate_id) DO UPDATE
   SET state = 'PARKED', event_id = excluded.event_id, retry_at = NULL,
       dead_letter_id = excluded.dead_letter_id, since = clock_timestamp()
