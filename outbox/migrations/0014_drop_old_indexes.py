"""Drop the index whose work a new one does: its first column is fixed by its condition.

Its neighbour, ``idx_outbox_status_created``, stays: it tells how old the oldest pending event is.
"""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("outbox", "0013_index_fingerprint")]

    operations = [
        migrations.RemoveIndex("event", "idx_outbox_pending_retries"),
    ]
