"""Workers, the providers that start them, and the tokens that let them in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html

from hodei.admin.actions import Judge
from hodei.admin.deciding import DecidingAdmin
from hodei.admin.readonly import (
    ReadOnlyAdmin,
    show_age,
    show_json,
    show_link,
    show_state,
    show_when,
)
from hodei.admin.rendering import (
    EMPTY,
    Tones,
    badge,
    lines,
    link,
    list_link,
    span,
    when,
)
from jobs.admin.decisions import (
    PROVIDER_ACTIONS,
    WORKER_ACTIONS,
    judge_provider,
    judge_worker,
)
from jobs.models import (
    BootstrapToken,
    Lease,
    Provider,
    Worker,
)
from jobs.states import WORKER_FINAL, ProviderStatus, WorkerState

WORKER_TONES: Tones = {
    WorkerState.CREATING: "wait",
    WorkerState.CONNECTING: "wait",
    WorkerState.READY: "good",
    WorkerState.BUSY: "busy",
    WorkerState.DRAINING: "wait",
    WorkerState.TERMINATING: "wait",
    WorkerState.FAILED: "bad",
}

PROVIDER_TONES: Tones = {
    ProviderStatus.ACTIVE: "good",
    ProviderStatus.MAINTENANCE: "wait",
    ProviderStatus.OVERLOADED: "wait",
    ProviderStatus.DEGRADED: "wait",
    ProviderStatus.UNHEALTHY: "bad",
    ProviderStatus.ERROR: "bad",
}

LIVE_WORKERS = [state.value for state in WorkerState if state not in WORKER_FINAL]


def silent_for(border: timedelta, workers: QuerySet[Any]) -> QuerySet[Any]:
    """Live workers, which an index keeps few, whose newest sign is older than the border."""
    limit = timezone.now() - border
    return workers.filter(
        Q(last_heartbeat__lt=limit) | Q(last_heartbeat__isnull=True, created_at__lt=limit),
        state__in=LIVE_WORKERS,
    )


class SilenceFilter(admin.SimpleListFilter):
    """Workers that ought to be alive, by how long nobody has heard of them."""

    title = "silent for"
    parameter_name = "silent"
    borders = {"1m": timedelta(minutes=1), "5m": timedelta(minutes=5), "1h": timedelta(hours=1)}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The borders."""
        return [(key, f"Over {span(border)}") for key, border in self.borders.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Those that have been so for longer than the border."""
        border = self.borders.get(self.value() or "")
        if border is None:
            return queryset
        return silent_for(border, queryset)


class ConsumedFilter(admin.SimpleListFilter):
    """Whether a worker has used the token, and whether one still may."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """What a token can be."""
        return [("open", "Open"), ("consumed", "Consumed"), ("expired", "Expired unused")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The tokens that are so."""
        now = timezone.now()
        match self.value():
            case "open":
                return queryset.filter(consumed_at__isnull=True, expires_at__gt=now)
            case "consumed":
                return queryset.filter(consumed_at__isnull=False)
            case "expired":
                return queryset.filter(consumed_at__isnull=True, expires_at__lte=now)
        return queryset


@admin.register(Worker)
class WorkerAdmin(DecidingAdmin):
    """Workers by state."""

    explanation = "Processes that run jobs: started by jobs_worker, or made by a provider."
    decisions = WORKER_ACTIONS
    state_cell = "worker_state"

    list_display = ("worker_name", "worker_state", "heartbeat", "provider", "job", "age")
    list_filter = ("state", SilenceFilter)
    list_select_related = ("provider", "current_job")
    search_fields = ("id", "current_job")
    search_help_text = "Id of the worker or its job, or a live worker's name at its provider."
    ordering = ("state",)
    linked_lookups = ("provider",)
    fieldsets = (
        (None, {"fields": ("worker_state", "heartbeat_when", "current_job", "leases")}),
        (
            "Made by",
            {"fields": ("provider", "provider_type", "provider_resource_id", "created", "updated")},
        ),
        ("Data", {"fields": ("id", "spec_block", "handle_block")}),
    )

    worker_state = show_state("state", "State", WORKER_TONES)
    heartbeat = show_age("last_heartbeat", "Heartbeat")
    age = show_age("created_at", "Registered")
    heartbeat_when = show_when("last_heartbeat", "Newest heartbeat")
    created = show_when("created_at", "Registered")
    updated = show_when("updated_at", "Changed")
    spec_block = show_json("spec", "Spec")
    handle_block = show_json("handle", "Handle")

    def get_list_queryset(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Of the provider and the job, only what the list shows."""
        shown = ("provider__name", "provider__provider_type")
        job = ("current_job__name", "current_job__state")
        own = [field.name for field in self.opts.concrete_fields]
        hidden = {"spec", "handle"}
        return rows.only(*(name for name in own if name not in hidden), *shown, *job)

    def get_search_condition(self, rows: QuerySet[Any], term: str) -> Q:
        """Ids, and names among the live workers: they are few."""
        named = Q(provider_resource_id=term, state__in=LIVE_WORKERS)
        return super().get_search_condition(rows, term) | named

    def judge(self, rows: Sequence[Any], using: str) -> Judge:
        """By the state of each."""
        return judge_worker

    def title_of(self, row: Worker) -> str:
        """Its name at its provider, or its id."""
        return row.provider_resource_id or str(row.pk)

    @admin.display(description="Worker")
    def worker_name(self, row: Worker) -> str:
        return self.title_of(row)

    @admin.display(description="Job")
    def job(self, row: Worker) -> str:
        if row.current_job is None:
            return EMPTY
        return link("jobs_job", row.current_job_id, row.current_job.name)

    @admin.display(description="Leases")
    def leases(self, row: Worker) -> str:
        held = Lease.objects.filter(worker_id=row.pk).order_by("expires_at")
        return lines(
            format_html("{} until {}", link("jobs_job", lease.job_id), when(lease.expires_at))
            for lease in held[:50]
        )


@admin.register(Provider)
class ProviderAdmin(DecidingAdmin):
    """Providers by name."""

    explanation = "What makes workers. jobs_provider adds and changes them."
    decisions = PROVIDER_ACTIONS
    state_cell = "provider_status"

    list_display = ("name", "provider_type", "provider_status", "priority", "capacity", "age")
    list_filter = ("status",)
    search_fields = ("id", "name")
    search_help_text = "Id or name."
    ordering = ("name",)
    fieldsets = (
        (None, {"fields": ("name", "provider_status", "provider_type", "priority", "capacity")}),
        ("Settings", {"fields": ("config_block", "tags_block", "metadata_block")}),
        ("When", {"fields": ("id", "created", "updated")}),
    )

    provider_status = show_state("status", "Status", PROVIDER_TONES)
    age = show_age("updated_at", "Changed")
    created = show_when("created_at", "Created")
    updated = show_when("updated_at", "Changed")
    config_block = show_json("config", "Configuration")
    tags_block = show_json("tags", "Tags")
    metadata_block = show_json("metadata", "Metadata")

    def get_list_queryset(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Beside the rows, their live workers."""
        return with_live_workers(super().get_list_queryset(rows))

    def get_detail_queryset(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Beside the row, its live workers."""
        return with_live_workers(super().get_detail_queryset(rows))

    def judge(self, rows: Sequence[Any], using: str) -> Judge:
        """By the status of each."""
        return judge_provider

    def title_of(self, row: Provider) -> str:
        """Its name."""
        return row.name

    @admin.display(description="Live workers")
    def capacity(self, row: Any) -> str:
        words = f"{row.live_workers or 0} of {row.max_workers}"
        return list_link("jobs_worker", words, provider=row.pk)


def with_live_workers(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Providers with ``live_workers``, counted by an index."""
    live = Worker.objects.filter(provider_id=OuterRef("pk"), state__in=LIVE_WORKERS)
    counted = live.order_by().values("provider_id").annotate(live=Count("pk")).values("live")
    shown: QuerySet[Any] = rows.annotate(live_workers=Subquery(counted))
    return shown


@admin.register(BootstrapToken)
class BootstrapTokenAdmin(ReadOnlyAdmin):
    """Tokens by their public id. The hash of the secret is read by nobody here."""

    explanation = "What a worker that a provider has made registers with, once."
    list_display = ("token", "token_state", "expiry", "issued", "worker_link")
    list_filter = (ConsumedFilter,)
    search_fields = ("token",)
    search_help_text = "Public id of the token."
    ordering = ("token",)
    fieldsets = (
        (None, {"fields": ("token", "token_state", "worker")}),
        ("When", {"fields": ("created", "expires", "consumed")}),
    )

    issued = show_age("created_at", "Issued")
    expiry = show_age("expires_at", "Expires")
    created = show_when("created_at", "Issued")
    expires = show_when("expires_at", "Expires")
    consumed = show_when("consumed_at", "Consumed")
    worker_link = show_link("worker_id", "Worker", "jobs_worker", short=True)
    worker = show_link("worker_id", "Worker", "jobs_worker")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """The tokens without their hashes."""
        return super().get_queryset(request).defer("secret_hash")

    @admin.display(description="State")
    def token_state(self, row: BootstrapToken) -> str:
        if row.consumed_at is not None:
            return badge("CONSUMED", {"CONSUMED": "good"})
        if row.expires_at <= timezone.now():
            return badge("EXPIRED", {})
        return badge("OPEN", {"OPEN": "wait"})
