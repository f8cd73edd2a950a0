"""Sagas, each with its steps, attempts and audit on one page."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Left
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html

from hodei.admin.filters import age_filter, leading_value_filter
from hodei.admin.listing import leading_values
from hodei.admin.readonly import (
    ReadOnlyAdmin,
    show_age,
    show_first_line,
    show_json,
    show_state,
    show_text,
    show_when,
)
from hodei.admin.rendering import (
    EMPTY,
    PANEL_LIMIT,
    Tones,
    badge,
    beside,
    code,
    first_line,
    folded,
    json_columns,
    json_of,
    lines,
    link,
    list_link,
    progress,
    span,
    table,
    when,
)
from sagas.admin.steps import ERROR_LIMIT, STEP_TONES, attempts_table, took
from sagas.models import Saga, SagaAuditEvent, SagaLock, SagaStep, SagaStepAttempt
from sagas.states import (
    OUTCOME_STATES,
    SAGA_LIVE,
    SagaOutcome,
    SagaState,
    StepState,
)

SAGA_TONES: Tones = {
    SagaState.PENDING: "wait",
    SagaState.IN_PROGRESS: "busy",
    SagaState.COMPENSATING: "wait",
    SagaState.COMPLETED: "good",
    SagaState.FAILED: "bad",
}

OUTCOME_TONES: Tones = {
    SagaOutcome.COMPLETED: "good",
    SagaOutcome.COMPENSATED: "wait",
    SagaOutcome.COMPENSATION_FAILED: "bad",
}

#: Steps that are behind the saga while it goes forward.
DONE = [StepState.COMPLETED.value, StepState.SKIPPED.value]


class OutcomeFilter(admin.SimpleListFilter):
    """How sagas ended, or that they live and what they wait for."""

    title = "outcome"
    parameter_name = "outcome"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The outcomes, after what is alive."""
        return [
            ("live", "Live"),
            ("overdue", "Live, past its deadline"),
            ("unheld", "Live, held by no runner"),
            *((outcome.value, words(outcome)) for outcome in SagaOutcome),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The sagas of that kind; the state stands beside the outcome since it has the index."""
        now = timezone.now()
        live = queryset.filter(state__in=[state.value for state in SAGA_LIVE])
        match self.value():
            case "live":
                return live
            case "overdue":
                return live.filter(deadline_at__lt=now)
            case "unheld":
                return live.filter(Q(lease_until__isnull=True) | Q(lease_until__lt=now))
            case value if value in set(SagaOutcome):
                outcome = SagaOutcome(value)
                return queryset.filter(outcome=value, state=OUTCOME_STATES[outcome].value)
        return queryset


def words(value: str) -> str:
    """A stored value as words."""
    return value.replace("_", " ").capitalize()


def more(rows: list[Any], model: str, saga: Saga) -> str:
    """A link to the whole list, where a panel is full."""
    full = len(rows) >= PANEL_LIMIT
    return list_link(f"sagas_{model}", "All of them", saga=saga.pk) if full else ""


def with_progress(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Sagas with ``steps_total``, ``steps_done`` and ``steps_undone``, by the index of steps."""

    def counted(**conditions: Any) -> Subquery:
        steps = SagaStep.objects.filter(saga_id=OuterRef("pk"), **conditions)
        return Subquery(steps.order_by().values("saga_id").annotate(n=Count("pk")).values("n"))

    shown: QuerySet[Any] = rows.annotate(
        steps_total=counted(),
        steps_done=counted(state__in=DONE),
        steps_undone=counted(state=StepState.COMPENSATED.value),
    )
    return shown


@admin.register(Saga)
class SagaAdmin(ReadOnlyAdmin):
    """Sagas, newest first."""

    list_display = (
        *("saga_type", "saga_state", "saga_outcome", "steps", "age", "deadline"),
        *("lease_owner", "correlation_id", "first_error"),
    )
    list_filter = (
        "state",
        OutcomeFilter,
        leading_value_filter("saga_type", "kind"),
        age_filter("started_at", "started"),
    )
    search_fields = ("id", "correlation_id")
    search_help_text = "Id, correlation id, or business key of a live saga."
    ordering = ("-started_at",)
    sortable_by = ("age",)
    linked_lookups = ("correlation_id",)
    list_cut = ("error_message",)
    panels = {
        "Steps": "sagas.view_sagastep",
        "Attempts": "sagas.view_sagastepattempt",
        "Audit": "sagas.view_sagaauditevent",
    }
    fieldsets = (
        (None, {"fields": ("saga_state", "saga_outcome", "steps", "error", "requests")}),
        ("Steps", {"fields": ("steps_panel",), "classes": ("hodei-wide",)}),
        ("Attempts", {"fields": ("attempts_panel",), "classes": ("hodei-wide",)}),
        ("Audit", {"fields": ("audit_panel",), "classes": ("hodei-wide",)}),
        (
            "Driven by",
            {"fields": ("lease_owner", "lease", "lease_epoch", "version", "locks")},
        ),
        ("When", {"fields": ("started", "completed", "duration", "deadline_when")}),
        (
            "Belongs to",
            {
                "fields": (
                    *("id", "saga_type", "business_key", "correlation", "actor"),
                    *("trace_parent", "metadata_block"),
                )
            },
        ),
    )

    saga_state = show_state("state", "State", SAGA_TONES)
    saga_outcome = show_state("outcome", "Outcome", OUTCOME_TONES)
    age = show_age("started_at", "Started")
    deadline = show_age("deadline_at", "Deadline")
    first_error = show_first_line("error_message", "Error")
    error = show_text("error_message", "Error")
    lease = show_when("lease_until", "Lease ends")
    started = show_when("started_at", "Started")
    completed = show_when("completed_at", "Ended")
    deadline_when = show_when("deadline_at", "Deadline")
    metadata_block = show_json("metadata", "Metadata")

    def get_list_queryset(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Beside the rows, how far they are."""
        return with_progress(super().get_list_queryset(rows))

    def get_detail_queryset(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Beside the row, how far it is."""
        return with_progress(super().get_detail_queryset(rows))

    def get_search_condition(self, rows: QuerySet[Any], term: str) -> Q:
        """Ids, and keys of live sagas, which alone have an index of them."""
        found = super().get_search_condition(rows, term)
        kinds = leading_values(Saga, "saga_type", rows.db)
        live = [state.value for state in SAGA_LIVE]
        return found | Q(saga_type__in=kinds, business_key=term, state__in=live)

    @admin.display(description="Steps done")
    def steps(self, row: Any) -> str:
        bar = progress(row.steps_done or 0, row.steps_total or 0)
        return format_html("{}, {} undone", bar, row.steps_undone) if row.steps_undone else bar

    @admin.display(description="Asked for")
    def requests(self, row: Saga) -> str:
        asked = []
        if row.pause_requested_at:
            asked.append(format_html("Pause, {}", when(row.pause_requested_at)))
        if row.cancel_requested_at:
            asked.append(format_html("Cancellation, {}", when(row.cancel_requested_at)))
        return lines(asked)

    @admin.display(description="Took")
    def duration(self, row: Saga) -> str:
        return span((row.completed_at or timezone.now()) - row.started_at)

    @admin.display(description="Definition")
    def version(self, row: Saga) -> str:
        return format_html(
            "version {}, steps {}", row.definition_version, code(row.steps_hash, short=True)
        )

    @admin.display(description="Correlation id")
    def correlation(self, row: Saga) -> str:
        if not row.correlation_id:
            return EMPTY
        same = row.correlation_id
        return lines(
            [
                code(same),
                list_link("sagas_saga", "Its sagas", correlation_id=same),
                list_link("jobs_job", "Its jobs", correlation_id=same),
                list_link("jobs_auditrecord", "Its audit", correlation_id=same),
            ]
        )

    @admin.display(description="Locks")
    def locks(self, row: Saga) -> str:
        held = SagaLock.objects.filter(saga_id=row.pk).order_by("id")[:50]
        return lines(
            format_html(
                "{} {} since {}", lock.resource_type, lock.resource_id, when(lock.acquired_at)
            )
            for lock in held
        )

    @admin.display(description="Steps")
    def steps_panel(self, row: Saga) -> str:
        names = ("input_data", "output_data", "compensation_data")
        steps = (
            SagaStep.objects.filter(saga_id=row.pk)
            .order_by("step_order")
            .defer(*names, "error_message")
            .annotate(error_start=Left("error_message", ERROR_LIMIT), **json_columns(names))
        )
        rows = [
            (
                step.step_order,
                link("sagas_sagastep", step.pk, step.step_name),
                badge(step.state, STEP_TONES),
                step.retry_count,
                took(
                    step.started_at, step.completed_at, is_open=step.state == StepState.IN_PROGRESS
                ),
                first_line(step.error_start, ERROR_LIMIT),
                beside(
                    block
                    for title, name in zip(("Input", "Output", "Compensation"), names, strict=True)
                    if (block := folded(title, json_of(step, name))) != EMPTY
                ),
            )
            for step in steps[:PANEL_LIMIT]
        ]
        heads = ["Order", "Step", "State", "Retries", "Took", "Error", "Data"]
        return table(f"First {PANEL_LIMIT} steps", heads, rows, remark=more(rows, "sagastep", row))

    @admin.display(description="Attempts")
    def attempts_panel(self, row: Saga) -> str:
        tried = SagaStepAttempt.objects
        return attempts_table(tried.filter(step__saga_id=row.pk))

    @admin.display(description="Audit")
    def audit_panel(self, row: Saga) -> str:
        newest = (
            SagaAuditEvent.objects.filter(saga_id=row.pk)
            .order_by("-occurred_at", "-pk")
            .defer("payload", "message")
            .annotate(message_start=Left("message", ERROR_LIMIT), **json_columns(["payload"]))
        )
        rows = [
            (
                when(event.occurred_at),
                event.event_type,
                event.step_name or EMPTY,
                first_line(event.message_start, ERROR_LIMIT),
                folded("Details", json_of(event, "payload")),
            )
            for event in reversed(newest[:PANEL_LIMIT])
        ]
        return table(
            f"Newest {PANEL_LIMIT} audit events",
            ["When", "What", "Step", "In words", "Details"],
            rows,
            remark=more(rows, "sagaauditevent", row),
        )
