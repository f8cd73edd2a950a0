"""Resources that sagas hold."""

from __future__ import annotations

from django.db import models

from hodei.columns import now
from sagas.models.saga import Saga


class SagaLock(models.Model):
    """A resource that one saga holds, so that no second one works on it."""

    id = models.BigAutoField(primary_key=True, db_comment="Meaningless number")
    resource_type = models.CharField(max_length=50, db_comment="Kind of the resource")
    resource_id = models.CharField(max_length=255, db_comment="Which one")
    saga = models.ForeignKey(
        Saga,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="locks",
        db_comment="The holder; its locks go with it",
    )
    acquired_at = models.DateTimeField(db_default=now(), db_comment="Since when")

    class Meta:
        db_table = "saga_locks"
        db_table_comment = "Resources that live sagas hold, one holder each"
        constraints = [
            models.UniqueConstraint(
                fields=["resource_type", "resource_id"], name="saga_locks_resource_key"
            ),
        ]
        indexes = [
            models.Index(fields=["saga"], name="saga_locks_saga_idx"),
        ]
        verbose_name = "lock"

    def __str__(self) -> str:
        return f"{self.resource_type} {self.resource_id}"
