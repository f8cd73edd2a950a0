"""The function that stores an event: its statements are planned once in a session, where those of
Django's connections are planned each time.

Locks: the lane shared and then the aggregate alone, until the transaction ends, so that the event
has its number in its aggregate's turn. The numbers and the channel are those of the app's modules.
"""

from __future__ import annotations

from django.db import migrations

PUBLISH = """
CREATE FUNCTION outbox_publish(
    id uuid, aggregate_id uuid, aggregate_type text, event_type text, event_version int,
    payload jsonb, metadata jsonb, idempotency_key text, aggregate_key text, destination text,
    in_turn boolean
) RETURNS boolean LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    lane int := get_byte(uuid_send(aggregate_id), 15) & 63;
BEGIN
    IF NOT in_turn THEN
        PERFORM pg_advisory_xact_lock_shared(1869968385, lane);
        PERFORM pg_advisory_xact_lock(hashtextextended(aggregate_type || ':' || aggregate_id, 0));
    END IF;
    INSERT INTO outbox_events (id, aggregate_id, aggregate_type, event_type, event_version, payload,
                               metadata, idempotency_key, aggregate_key, destination)
    VALUES (id, aggregate_id, aggregate_type, event_type, event_version, payload, metadata,
            idempotency_key, aggregate_key, destination)
        ON CONFLICT (idempotency_key) DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF NOT pg_try_advisory_lock_shared(1869968386, lane) THEN
        PERFORM pg_notify('hodei_outbox', '');
        RETURN true;
    END IF;
    RETURN pg_advisory_unlock_shared(1869968386, lane);
END
$$;
COMMENT ON FUNCTION outbox_publish IS
    'Stores an event in its turn and wakes its relay; false where its idempotency key is known';
"""


class Migration(migrations.Migration):
    dependencies = [("outbox", "0018_index_oldest")]

    operations = [migrations.RunSQL(PUBLISH, "DROP FUNCTION outbox_publish;")]
