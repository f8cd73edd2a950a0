"""Drop the indexes whose work the new ones do: their first column is fixed by their condition."""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("outbox", "0013_index_fingerprint")]

    operations = [
        migrations.RemoveIndex("event", "idx_outbox_pending_retries"),
        migrations.RemoveIndex("event", "idx_outbox_status_created"),
    ]
