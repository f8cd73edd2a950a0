"""Many rows at once, for tests that look at how the server goes through them."""

from __future__ import annotations

#: Of how many aggregates, in which status, and how many.
EVENTS = """
    INSERT INTO outbox_events (aggregate_id, aggregate_type, event_type, payload, status)
    SELECT md5((n %% %s)::text)::uuid, 'JOB', 'Counted', jsonb_build_object('n', n), %s
      FROM generate_series(1, %s) AS s (n)"""
TROUBLED = """
    INSERT INTO outbox_keys (destination, lane, aggregate_type, aggregate_id, state, event_id,
                             retry_at)
    SELECT 'default', get_byte(uuid_send(id), 15) & 63, 'JOB', id, 'BACKOFF', gen_random_uuid(),
           clock_timestamp() + n * interval '1 minute'
      FROM (SELECT n, md5('troubled' || n)::uuid AS id FROM generate_series(1, %s) AS s (n)) AS k"""
