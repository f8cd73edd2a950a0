"""Repair what the original could leave. Every rule is in docs/reference/repairs.md.

Repairs are not undone on the way back: what they write is legal in the baseline too.
"""

from __future__ import annotations

from django.db import migrations

from hodei.schema.repair import BATCH, walk


def repair(apps, schema_editor):
    connection = schema_editor.connection
    walk(
        connection,
        "outbox_events",
        change="""
            status = coalesce(
                status, CASE WHEN published_at IS NULL THEN 'PENDING' ELSE 'PUBLISHED' END),
            retry_count = coalesce(retry_count, 0),
            event_version = coalesce(event_version, 1),
            created_at = coalesce(created_at, published_at, now())
        """,
        where="status IS NULL OR retry_count IS NULL OR event_version IS NULL OR created_at IS NULL",
    )
    walk(
        connection,
        "outbox_dlq",
        change="moved_at = coalesce(resolved_at, original_created_at)",
        where="moved_at IS NULL",
    )
    number_events(connection)
    with connection.cursor() as cursor:
        cursor.execute(COMPLETE_DEAD_LETTERS)
        cursor.execute(BURY_FAILED_EVENTS)
        cursor.execute(RECORD_DEATHS)
        cursor.execute(RECORD_RESOLUTIONS)


def number_events(connection):
    """Give the events that were there before 0002 their order: by created_at, then id.

    A run that was killed goes on after the highest number it gave.
    """
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS events_to_number")
        cursor.execute(
            """
            CREATE TEMPORARY TABLE events_to_number AS
            SELECT id, row_number() OVER (ORDER BY created_at, id) + (
                       SELECT coalesce(max(seq), 0) FROM outbox_events
                        WHERE seq < (SELECT seqstart FROM pg_sequence
                                      WHERE seqrelid = 'outbox_events_seq_seq'::regclass)) AS seq
              FROM outbox_events WHERE seq IS NULL
            """
        )
        cursor.execute("ALTER TABLE events_to_number ADD PRIMARY KEY (seq)")
        cursor.execute("ANALYZE events_to_number")
        cursor.execute("SELECT min(seq), max(seq) FROM events_to_number")
        first, last = cursor.fetchone()
        for start in range(first or 0, (last or -1) + 1, BATCH):
            cursor.execute(
                "UPDATE outbox_events SET seq = n.seq FROM events_to_number n "
                "WHERE outbox_events.id = n.id AND n.seq >= %s AND n.seq < %s",
                [start, start + BATCH],
            )
        cursor.execute("DROP TABLE events_to_number")


# What a requeue needs, from events that are still there.
COMPLETE_DEAD_LETTERS = """
UPDATE outbox_dlq SET seq = e.seq, event_version = e.event_version,
       idempotency_key = e.idempotency_key
  FROM outbox_events e
 WHERE e.id = outbox_dlq.original_event_id AND outbox_dlq.seq IS NULL
"""

# The original's relay never looked at a FAILED event again, and no person could see it.
BURY_FAILED_EVENTS = """
INSERT INTO outbox_dlq (original_event_id, aggregate_id, aggregate_type, event_type, event_version,
                        payload, metadata, error_message, retry_count, original_created_at,
                        moved_at, seq, idempotency_key)
SELECT id, aggregate_id, aggregate_type, event_type, event_version, payload, metadata,
       coalesce(last_error, 'The original relay gave it up and recorded no error.'),
       retry_count, created_at, now(), seq, idempotency_key
  FROM outbox_events
 WHERE status = 'FAILED'
ON CONFLICT (original_event_id) DO NOTHING
"""

RECORD_DEATHS = """
INSERT INTO outbox_dlq_actions (dlq_id, action, note, occurred_at)
SELECT id, 'DIED', error_message, moved_at FROM outbox_dlq
 WHERE NOT EXISTS (SELECT FROM outbox_dlq_actions a WHERE a.dlq_id = outbox_dlq.id)
 ORDER BY moved_at, id
"""

RECORD_RESOLUTIONS = """
INSERT INTO outbox_dlq_actions (dlq_id, action, actor, note, occurred_at)
SELECT id, 'RESOLVED', coalesce(resolved_by, 'unknown'), resolution_notes, resolved_at
  FROM outbox_dlq
 WHERE resolved_at IS NOT NULL
   AND NOT EXISTS (SELECT FROM outbox_dlq_actions a
                    WHERE a.dlq_id = outbox_dlq.id AND a.action = 'RESOLVED')
 ORDER BY resolved_at, id
"""


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("outbox", "0006_require_not_null")]

    operations = [migrations.RunPython(repair, migrations.RunPython.noop)]
