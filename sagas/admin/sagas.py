"""Sagas, each with its steps, attempts and audit on one page."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from django.contrib import admin
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Left
from django.utils import timezone
from django.utils.html import format_html

from hodei.admin.actions import Judge
from hodei.admin.deciding import DecidingAdmin
from hodei.admin.filters import age_filter, leading_value_filter
from hodei.admin.listing import leading_values
from hodei.admin.readonly import (
    show_age,
    show_json,
    show_state,
    show_text,
    show_when,
)
from hodei.admin.rendering import (
    EMPTY,
    PANEL_LIMIT,
    Tones,
    ago,
    badge,
    beside,
    clipped,
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
from hodei.columns import words_of
from hodei.redaction import redact_text
from sagas.admin.decisions import SAGA_ACTIONS, judge_sagas
from sagas.admin.filters import OutcomeFilter, WaitsFilter
from sagas.admin.steps import (
    ERROR_LIMIT,
    STEP_TONES,
    attempts_table,
    next_times,
    took,
    tries,
)
from sagas.models import Saga, SagaAuditEvent, SagaLock, SagaStep, SagaStepAttempt
from sagas.services.inspection import LIVE, waits_for
from sagas.states import (
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

#: What inputs and outputs of sagas speak of, by its key there, as the outbox calls it.
SUBJECTS = {"job_id": "JOB", "worker_id": "WORKER", "provider_id": "PROVIDER"}

#: Steps that are behind the saga while it goes forward.
DONE = [StepState.COMPLETED.value, StepState.SKIPPED.value]


def subjects_of(row: Any) -> list[str]:
    """What its input and the outputs of its steps name: jobs, workers, providers; and the events
    of each. One query."""
    found: dict[tuple[str, uuid.UUID], None] = {}
    outputs = SagaStep.objects.filter(saga_id=row.pk).order_by("step_order")
    keys = outputs.values_list(*(f"output_data__{key}" for key in SUBJECTS))[:PANEL_LIMIT]
    given = Saga.objects.filter(pk=row.pk).values_list(*(f"metadata__{key}" for key in SUBJECTS))
    for values in given.union(keys, all=True):
        for key, value in zip(SUBJECTS, values, strict=True):
            with suppress(ValueError, TypeError, AttributeError):
                found[key, uuid.UUID(value)] = None
    return [
        format_html(
            "{} {}, {}",
            *(words_of(SUBJECTS[key]), link(f"jobs_{SUBJECTS[key].lower()}", one)),
            list_link("outbox_event", "its events", aggregate_type=SUBJECTS[key], aggregate_id=one),
        )
        for key, one in found
    ]


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
class SagaAdmin(DecidingAdmin):
    """Sagas, newest first."""

    explanation = "Work in several steps, which are undone when they cannot all be done."
    decisions = SAGA_ACTIONS
    state_cell = "standing"
    list_display = ("saga_type", "standing", "age", "steps", "ends", "waits_or_why", "belongs_to")
    list_filter = (
        "state",
        OutcomeFilter,
        WaitsFilter,
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
        (
            None,
            {
                "fields": (
                    *("saga_state", "saga_outcome", "steps", "waits", "error", "requests"),
                    *("due", "about"),
                )
            },
        ),
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
    due = show_when("due_at", "Next look")
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

    def judge(self, rows: Sequence[Any], using: str) -> Judge:
        """By the rules of the services."""
        return judge_sagas(rows, using)

    def title_of(self, row: Saga) -> str:
        """Its kind, and the id."""
        return f"{row.saga_type} {row.pk}"

    @admin.display(description="State")
    def standing(self, row: Saga) -> str:
        """Its outcome tells more than its state, once it has one."""
        if row.outcome:
            return badge(row.outcome, OUTCOME_TONES)
        return badge(row.state, SAGA_TONES)

    @admin.display(description="Deadline")
    def ends(self, row: Saga) -> str:
        return ago(row.deadline_at) if row.state in LIVE else EMPTY

    @admin.display(description="Waits for, or why")
    def waits_or_why(self, row: Any) -> str:
        waited = waits_for(row, timezone.now())
        return first_line(waited or row.error_message_start)

    @admin.display(description="Belongs to")
    def belongs_to(self, row: Saga) -> str:
        return clipped(row.correlation_id)

    @admin.display(description="Waits for")
    def waits(self, row: Saga) -> str:
        return redact_text(waits_for(row, timezone.now()) or "") or EMPTY

    @admin.display(description="Is about")
    def about(self, row: Any) -> str:
        return lines(subjects_of(row))

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
    def steps_panel(self, row: Any) -> str:
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
                tries(step),
                next_times(step),
                took(
                    step.started_at, step.completed_at, is_open=step.state == StepState.IN_PROGRESS
                ),
                first_line(step.error_start, ERROR_LIMIT),
                beside(
                    block
                    for title, name in zip(("Input", "Output", "Compensation"), names, strict=True)
                    if (block := folded(title, json_of(step, name))) != EMPTY
                ),
                *([row.offers.links(step.step_name)] if row.offers.permitted else []),
            )
            for step in steps[:PANEL_LIMIT]
        ]
        heads = ["Order", "Step", "State", "Tries", "Next", "Took", "Error", "Data"]
        heads += ["Decide"] if row.offers.permitted else []
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
