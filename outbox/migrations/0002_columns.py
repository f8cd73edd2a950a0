"""Columns that relays, requeues and operators need. All are added without a rewrite."""

from __future__ import annotations

from django.db import migrations, models
from django.db.models import Func, Value

# Rows that exist are numbered by 0007, in order, from 1. New ones are numbered from above any number
# those can reach: no page of 8 KiB holds more than 291 rows (MaxHeapTuplesPerPage).
NUMBER_NEW_EVENTS = """
ALTER TABLE outbox_events ADD COLUMN seq bigint;
DO $$ BEGIN
    EXECUTE format(
        'CREATE SEQUENCE outbox_events_seq_seq START WITH %s OWNED BY outbox_events.seq',
        pg_relation_size('outbox_events') / 8192 * 291 + 1);
END $$;
ALTER TABLE outbox_events ALTER COLUMN seq SET DEFAULT nextval('outbox_events_seq_seq');
"""


class Migration(migrations.Migration):
    dependencies = [("outbox", "0001_baseline")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(NUMBER_NEW_EVENTS, "ALTER TABLE outbox_events DROP COLUMN seq"),
            ],
            state_operations=[
                migrations.AddField(
                    "event",
                    "seq",
                    models.BigIntegerField(
                        db_default=Func(
                            Value("outbox_events_seq_seq"),
                            function="nextval",
                            output_field=models.BigIntegerField(),
                        ),
                        editable=False,
                        null=True,
                    ),
                ),
            ],
        ),
        migrations.AddField("event", "aggregate_key", models.TextField(blank=True, null=True)),
        migrations.AddField(
            "event", "destination", models.CharField(db_default="default", max_length=50)
        ),
        migrations.AddField(
            "event", "next_attempt_at", models.DateTimeField(blank=True, null=True)
        ),
        migrations.AddField("event", "held", models.BooleanField(db_default=False)),
        migrations.AddField("event", "attempts_started", models.IntegerField(db_default=0)),
        migrations.AddField("event", "attempts_finished", models.IntegerField(db_default=0)),
        migrations.AddField(
            "event", "error_class", models.CharField(blank=True, max_length=255, null=True)
        ),
        migrations.AddField(
            "event", "fingerprint", models.CharField(blank=True, max_length=64, null=True)
        ),
        migrations.AddField("deadletter", "seq", models.BigIntegerField(blank=True, null=True)),
        migrations.AddField("deadletter", "event_version", models.IntegerField(db_default=1)),
        migrations.AddField(
            "deadletter", "idempotency_key", models.CharField(blank=True, max_length=100, null=True)
        ),
        migrations.AddField("deadletter", "aggregate_key", models.TextField(blank=True, null=True)),
        migrations.AddField(
            "deadletter", "destination", models.CharField(db_default="default", max_length=50)
        ),
        migrations.AddField(
            "deadletter", "error_class", models.CharField(blank=True, max_length=255, null=True)
        ),
        migrations.AddField(
            "deadletter", "fingerprint", models.CharField(blank=True, max_length=64, null=True)
        ),
    ]
