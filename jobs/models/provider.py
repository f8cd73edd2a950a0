"""Providers: what can start workers."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q

from hodei.columns import choices, now, values
from jobs.states import (
    CUSTOM_PROVIDER_TYPE,
    ProviderStatus,
    ProviderType,
)


class Provider(models.Model):
    """Something that can start workers: its configuration, and whether it may."""

    id = models.UUIDField(
        primary_key=True, default=uuid.uuid4, editable=False, db_comment="Id, given by the caller"
    )
    name = models.CharField(max_length=255, db_comment="Unique name, for people")
    provider_type = models.CharField(
        max_length=50, db_comment="What it starts workers with; custom:<name> for third parties"
    )
    config = models.JSONField(
        default=dict, db_default={}, db_comment="Settings of the provider; secrets are redacted"
    )
    status = models.CharField(
        max_length=50,
        choices=choices(ProviderStatus),
        db_default=ProviderStatus.ACTIVE.value,
        db_comment="Only ACTIVE ones are asked for workers",
    )
    priority = models.IntegerField(db_default=0, db_comment="Higher is chosen first")
    max_workers = models.IntegerField(
        db_default=10, db_comment="Live workers that it may have at once"
    )
    tags = models.JSONField(default=list, db_default=[], db_comment="Labels that jobs select by")
    metadata = models.JSONField(
        default=dict, db_default={}, db_comment="Anything else, and what a repair kept"
    )
    created_at = models.DateTimeField(db_default=now(), db_comment="When it was saved first")
    updated_at = models.DateTimeField(db_default=now(), db_comment="When it was changed last")

    class Meta:
        db_table = "provider_configs"
        permissions = [("operate_provider", "Can decide about providers")]
        db_table_comment = "Providers that start workers, and their capacity"
        constraints = [
            models.UniqueConstraint(fields=["name"], name="provider_configs_name_key"),
            models.CheckConstraint(
                condition=Q(provider_type__in=values(ProviderType))
                | Q(provider_type__regex=CUSTOM_PROVIDER_TYPE),
                name="provider_configs_provider_type_check",
            ),
            models.CheckConstraint(
                condition=Q(status__in=values(ProviderStatus)),
                name="provider_configs_status_check",
            ),
        ]
        indexes = [
            models.Index(fields=["status"], name="idx_provider_configs_status"),
            models.Index(fields=["provider_type"], name="idx_provider_configs_type"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.provider_type})"
