"""Who may decide about jobs, workers and providers in the admin: permissions, no part of the schema."""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("jobs", "0022_places")]

    operations = [
        migrations.AlterModelOptions(
            "job", {"permissions": [("operate_job", "Can decide about jobs")]}
        ),
        migrations.AlterModelOptions(
            "provider", {"permissions": [("operate_provider", "Can decide about providers")]}
        ),
        migrations.AlterModelOptions(
            "worker", {"permissions": [("operate_worker", "Can decide about workers")]}
        ),
    ]
