"""Drop the index of providers that has every job in it, also those that have none."""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("jobs", "0025_index_provider")]

    operations = [migrations.RemoveIndex("job", "idx_jobs_selected_provider")]
