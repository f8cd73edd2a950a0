"""Steps and their attempts."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import F, QuerySet
from django.db.models.functions import Left
from django.utils import timezone
from django.utils.html import format_html

from hodei.admin.readonly import (
    ReadOnlyAdmin,
    show_age,
    show_code,
    show_first_line,
    show_json,
    show_link,
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
    first_line,
    lines,
    link,
    span,
    table,
    when,
)
from sagas.models import SagaStep, SagaStepAttempt
from sagas.states import (
    Direction,
    StepState,
)

STEP_TONES: Tones = {
    StepState.IN_PROGRESS: "busy",
    StepState.COMPLETED: "good",
    StepState.FAILED: "bad",
    StepState.UNKNOWN: "bad",
    StepState.COMPENSATING: "busy",
    StepState.COMPENSATED: "wait",
    StepState.PARKED: "bad",
}

DIRECTION_TONES: Tones = {Direction.FORWARD: "busy", Direction.COMPENSATION: "wait"}

#: Steps for which no time means anything any more.
_OVER = frozenset({StepState.COMPLETED, StepState.SKIPPED, StepState.COMPENSATED, StepState.PARKED})

#: Characters of an error that a panel shows.
ERROR_LIMIT = 400


def took(begin: datetime | None, end: datetime | None, *, is_open: bool) -> str:
    """How long something ran; where it has no end, that it is still open, or nothing."""
    if begin is None or (end is None and not is_open):
        return EMPTY
    return span(end - begin) if end else format_html("{}, open", span(timezone.now() - begin))


def tries(step: SagaStep) -> str:
    """How often a step was tried, asked and undone, as far as it was."""
    told = (
        (step.retry_count, "retry", "retries"),
        (step.waits, "wait", "waits"),
        (step.verifications, "question", "questions"),
        (step.compensation_attempts, "compensation", "compensations"),
    )
    return lines(f"{n} {one if n == 1 else more}" for n, one, more in told if n)


def next_times(step: SagaStep) -> str:
    """The times that a step waits for; nothing where it is over."""
    told = (
        (step.due_at, "next try"),
        (step.timeout_at, "to be back"),
        (step.deadline_at, "gives up"),
    )
    if step.state in _OVER:
        return EMPTY
    return lines(format_html("{} {}", name, ago(at)) for at, name in told if at)


def attempts_table(rows: QuerySet[Any]) -> str:
    """The newest attempts among the rows, in order."""
    newest = (
        rows.order_by("-id")
        .defer("error_message")
        .annotate(error_start=Left("error_message", ERROR_LIMIT), name=F("step__step_name"))
    )
    cells = [
        (
            attempt.name,
            badge(attempt.direction, DIRECTION_TONES),
            attempt.number,
            when(attempt.started_at),
            took(attempt.started_at, attempt.finished_at, is_open=True),
            attempt.runner or EMPTY,
            lines(
                filter(None, [attempt.error_class, first_line(attempt.error_start, ERROR_LIMIT)])
            ),
        )
        for attempt in reversed(newest[:PANEL_LIMIT])
    ]
    heads = ["Step", "Direction", "No.", "Began", "Took", "Runner", "Error"]
    return table(f"Newest {PANEL_LIMIT} attempts", heads, cells)


@admin.register(SagaStep)
class SagaStepAdmin(ReadOnlyAdmin):
    """Steps of sagas, in the order of their definitions."""

    explanation = (
        "Steps of sagas. The page of a saga has its own in order, with what can be decided."
    )
    list_display = ("step_name", "step_state", "step_order", "saga_link", "retry_count", "age")
    list_filter = ("state",)
    search_fields = ("id", "saga")
    search_help_text = "Id of the step or its saga."
    ordering = ("saga_id", "step_order")
    linked_lookups = ("saga",)
    panels = {"Attempts": "sagas.view_sagastepattempt"}
    fieldsets = (
        (None, {"fields": ("step_name", "step_state", "saga_page", "error", "retry_count")}),
        ("Data", {"fields": ("input_block", "output_block", "compensation_block")}),
        ("Attempts", {"fields": ("attempts_panel",), "classes": ("hodei-wide",)}),
        ("When", {"fields": ("started", "completed", "updated", "step_order", "id")}),
    )

    step_state = show_state("state", "State", STEP_TONES)
    age = show_age("updated_at", "Changed")
    saga_link = show_code("saga_id", "Saga", short=True)
    saga_page = show_link("saga_id", "Saga", "sagas_saga")
    error = show_text("error_message", "Error")
    started = show_when("started_at", "Started")
    completed = show_when("completed_at", "Action done")
    updated = show_when("updated_at", "Changed")
    input_block = show_json("input_data", "Input")
    output_block = show_json("output_data", "Output")
    compensation_block = show_json("compensation_data", "Compensation")
    list_cut = ("error_message",)

    @admin.display(description="Attempts")
    def attempts_panel(self, row: SagaStep) -> str:
        return attempts_table(SagaStepAttempt.objects.filter(step_id=row.pk))


@admin.register(SagaStepAttempt)
class SagaStepAttemptAdmin(ReadOnlyAdmin):
    """Tries of steps, newest first."""

    explanation = "Each call of a step, to do it or to undo it."
    list_display = ("id", "step_name", "way", "number", "age", "ran", "runner", "first_error")
    list_filter = ("direction",)
    list_select_related = ("step",)
    search_fields = ("step",)
    search_help_text = "Id of the step."
    ordering = ("-id",)
    linked_lookups = ("step",)
    fieldsets = (
        (None, {"fields": ("step_page", "way", "number", "error_class", "error")}),
        ("When", {"fields": ("started", "finished", "runner", "lease_epoch")}),
    )

    way = show_state("direction", "Direction", DIRECTION_TONES)
    age = show_age("started_at", "Began")
    first_error = show_first_line("error_message", "Error")
    error = show_text("error_message", "Error")
    started = show_when("started_at", "Began")
    finished = show_when("finished_at", "Came back")
    step_page = show_link("step_id", "Step", "sagas_sagastep")

    def get_list_queryset(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Of the step, only its name."""
        own = [f.name for f in self.opts.concrete_fields if f.name != "error_message"]
        start = Left("error_message", ERROR_LIMIT)
        short = rows.only(*own, "step__step_name")
        shown: QuerySet[Any] = short.annotate(error_message_start=start)
        return shown

    @admin.display(description="Step")
    def step_name(self, row: SagaStepAttempt) -> str:
        return link("sagas_sagastep", row.step_id, row.step.step_name)

    @admin.display(description="Ran for")
    def ran(self, row: SagaStepAttempt) -> str:
        return took(row.started_at, row.finished_at, is_open=True)
