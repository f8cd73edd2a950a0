"""Filters of the list of sagas: how they ended, and what they wait for."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from hodei.columns import words_of
from sagas.services.inspection import LIVE, NEEDS_A_PERSON, untaken, without_definition
from sagas.states import (
    OUTCOME_STATES,
    SAGA_LIVE,
    SagaOutcome,
)


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
            *((outcome.value, words_of(outcome)) for outcome in SagaOutcome),
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


class WaitsFilter(admin.SimpleListFilter):
    """Live sagas that do not go on by themselves, and those that ended and need a person."""

    title = "waits for"
    parameter_name = "waits"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Whom it waits for."""
        return [
            ("person", "A person: an incident"),
            ("resume", "A person: it is paused"),
            ("runner", "A runner: due for a minute, and none has taken it"),
            ("version", "A runner: no worker for this version"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The sagas that do."""
        match self.value():
            case "person":
                return queryset.filter(NEEDS_A_PERSON)
            case "resume":
                return queryset.filter(state__in=LIVE, pause_requested_at__isnull=False)
            case "runner":
                return untaken(queryset)
            case "version":
                return without_definition(queryset)
        return queryset
