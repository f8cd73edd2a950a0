"""Who may decide about dead letters in the admin: permissions, no part of the schema."""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("outbox", "0020_aggregates")]

    operations = [
        migrations.AlterModelOptions(
            "deadletter",
            {
                "permissions": [
                    ("operate_deadletter", "Can decide about dead letters"),
                    ("resend_deadletter", "Can send changed copies of dead letters"),
                ],
                "verbose_name": "dead letter",
            },
        ),
    ]
