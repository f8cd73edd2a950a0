"""Who may decide about sagas in the admin: permissions, no part of the schema."""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("sagas", "0019_start")]

    operations = [
        migrations.AlterModelOptions(
            "saga", {"permissions": [("operate_saga", "Can decide about sagas")]}
        ),
    ]
