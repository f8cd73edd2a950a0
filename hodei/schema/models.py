"""The history as Django sees it. The table itself is the service's: see ``history``."""

from __future__ import annotations

from django.db import models


class MigrationRun(models.Model):
    """One attempt to apply, unapply or fake a migration. Read it; only the service writes.

    The table is made before the first migration and stays when all are undone, so no migration
    makes or drops it.
    """

    batch = models.UUIDField()
    event = models.TextField(default="run")
    app = models.TextField()
    name = models.TextField()
    direction = models.TextField()
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    duration_ms = models.BigIntegerField(null=True)
    success = models.BooleanField(null=True)
    error = models.TextField(null=True)
    traceback = models.TextField(null=True)
    sqlstate = models.TextField(null=True)
    operation = models.TextField(null=True)
    checksum = models.TextField(null=True)
    database_user = models.TextField()
    os_user = models.TextField()
    host = models.TextField()
    command = models.TextField()
    release = models.TextField()
    hodei_version = models.TextField()
    django_version = models.TextField()
    reason = models.TextField(null=True)

    class Meta:
        managed = False
        db_table = "schema_migration_runs"
        verbose_name = "migration run"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.pk}: {self.app}.{self.name} {self.direction}"
