"""Workers, and the tokens that let them in."""

from __future__ import annotations

import uuid

from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models import Q

from hodei.columns import choices, now, values
from jobs.models.provider import Provider
from jobs.states import (
    CUSTOM_PROVIDER_TYPE,
    WORKER_FINAL,
    ProviderType,
    WorkerState,
)


class Worker(models.Model):
    """A process that runs jobs. What it runs is in the leases, not here."""

    id = models.UUIDField(
        primary_key=True, default=uuid.uuid4, editable=False, db_comment="Id, given by the caller"
    )
    provider = models.ForeignKey(
        Provider,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="workers",
        db_comment="The provider that made it; a provider with workers cannot be deleted",
    )
    provider_type = models.TextField(db_comment="Type of that provider when it was made")
    provider_resource_id = models.TextField(db_comment="The provider's own name for it")
    state = models.TextField(
        choices=choices(WorkerState), db_comment="Accepts jobs in READY and, beside others, BUSY"
    )
    spec = models.JSONField(default=dict, db_comment="What it was made with")
    handle = models.JSONField(
        default=dict, db_comment="The provider's data about it, and what a repair kept"
    )
    current_job = models.ForeignKey(
        "jobs.Job",
        null=True,
        blank=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="+",
        db_comment="The job it runs, kept for workers that run one at a time",
    )
    last_heartbeat = models.DateTimeField(
        null=True, blank=True, db_comment="Newest sign of life; NULL before the first one"
    )
    created_at = models.DateTimeField(
        db_default=now(), db_comment="Registration: liveness counts from here before a heartbeat"
    )
    updated_at = models.DateTimeField(db_default=now(), db_comment="When it was changed last")

    class Meta:
        db_table = "workers"
        permissions = [("operate_worker", "Can decide about workers")]
        db_table_comment = "Processes that run jobs, one row each for its whole life"
        constraints = [
            models.CheckConstraint(
                condition=Q(provider_type__in=values(ProviderType))
                | Q(provider_type__regex=CUSTOM_PROVIDER_TYPE),
                name="workers_provider_type_check",
            ),
            models.CheckConstraint(
                condition=Q(state__in=values(WorkerState)),
                name="workers_state_check",
            ),
            models.UniqueConstraint(
                fields=["current_job"],
                condition=Q(
                    current_job__isnull=False,
                    state__in=[state.value for state in WorkerState if state not in WORKER_FINAL],
                ),
                name="workers_one_live_per_job",
            ),
        ]
        indexes = [
            models.Index(
                fields=["current_job"],
                condition=Q(current_job__isnull=False),
                name="idx_workers_current_job",
            ),
            models.Index(fields=["provider"], name="idx_workers_provider_id"),
            models.Index(fields=["state"], name="idx_workers_state"),
        ]

    def __str__(self) -> str:
        return f"{self.provider_resource_id} ({self.state})"


class BootstrapToken(models.Model):
    """Lets one worker register once. The secret is handed out and never stored."""

    token = models.UUIDField(
        primary_key=True,
        default=uuid.uuid4,
        db_default=RandomUUID(),
        editable=False,
        db_comment="Public id of the token; the secret beside it is stored as a hash",
    )
    worker_id = models.UUIDField(db_comment="The worker it is for, which may not exist yet")
    expires_at = models.DateTimeField(db_comment="Not valid after this time")
    consumed_at = models.DateTimeField(
        null=True, blank=True, db_comment="When the worker registered with it"
    )
    created_at = models.DateTimeField(db_default=now(), db_comment="When it was issued")
    secret_hash = models.CharField(
        max_length=64,
        null=True,
        blank=True,
        db_comment="SHA-256 of the secret, in hex; NULL lets nobody in",
    )

    class Meta:
        db_table = "worker_bootstrap_tokens"
        db_table_comment = "Tokens that let one worker register once"
        indexes = [
            models.Index(
                fields=["worker_id"],
                condition=Q(consumed_at=None),
                name="bootstrap_tokens_worker_idx",
            ),
            models.Index(fields=["expires_at"], name="bootstrap_tokens_expires_idx"),
        ]
        verbose_name = "bootstrap token"

    def __str__(self) -> str:
        return f"for {self.worker_id}"
