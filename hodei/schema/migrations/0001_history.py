from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """Django's view of the history. The service makes the table, before the first migration."""

    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            name="MigrationRun",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("batch", models.UUIDField()),
                ("event", models.TextField(default="run")),
                ("app", models.TextField()),
                ("name", models.TextField()),
                ("direction", models.TextField()),
                ("started_at", models.DateTimeField()),
                ("finished_at", models.DateTimeField(null=True)),
                ("duration_ms", models.BigIntegerField(null=True)),
                ("success", models.BooleanField(null=True)),
                ("error", models.TextField(null=True)),
                ("traceback", models.TextField(null=True)),
                ("sqlstate", models.TextField(null=True)),
                ("operation", models.TextField(null=True)),
                ("checksum", models.TextField(null=True)),
                ("database_user", models.TextField()),
                ("os_user", models.TextField()),
                ("host", models.TextField()),
                ("command", models.TextField()),
                ("release", models.TextField()),
                ("hodei_version", models.TextField()),
                ("django_version", models.TextField()),
                ("reason", models.TextField(null=True)),
            ],
            options={
                "verbose_name": "migration run",
                "db_table": "schema_migration_runs",
                "managed": False,
                "default_permissions": ("view",),
            },
        ),
    ]
