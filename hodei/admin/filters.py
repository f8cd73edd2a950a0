"""Filters for lists of a million rows: ages, values from an index, never a SELECT DISTINCT."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from hodei.admin.listing import leading_values

AGES = {
    "15m": ("Last 15 minutes", timedelta(minutes=15)),
    "1h": ("Last hour", timedelta(hours=1)),
    "24h": ("Last 24 hours", timedelta(days=1)),
    "7d": ("Last 7 days", timedelta(days=7)),
}


class AgeFilter(SimpleListFilter):
    """Keeps what is younger than a border, or older than the oldest one."""

    field = ""

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, str]]:
        """The borders, and all that is older than them."""
        return [*((key, words) for key, (words, _) in AGES.items()), ("older", "Over 7 days ago")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows on the asked side of the border."""
        if self.value() == "older":
            return queryset.filter(**{f"{self.field}__lt": timezone.now() - AGES["7d"][1]})
        if border := AGES.get(self.value() or ""):
            return queryset.filter(**{f"{self.field}__gte": timezone.now() - border[1]})
        return queryset


class LeadingValueFilter(SimpleListFilter):
    """Offers the values of a column that leads an index."""

    field = ""

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, str]]:
        """The values that are there now."""
        using = model_admin.get_queryset(request).db
        values = leading_values(model_admin.model, self.field, using)
        return [(str(value), str(value)) for value in values]

    def has_output(self) -> bool:
        """Shown even with one value: that there is no other one is worth seeing."""
        return bool(self.lookup_choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows with the chosen value."""
        return queryset.filter(**{self.field: self.value()}) if self.value() else queryset


def age_filter(field: str, title: str) -> type[AgeFilter]:
    """A filter by the age of a timestamp that an index covers."""
    return type(
        "AgeFilter", (AgeFilter,), {"field": field, "title": title, "parameter_name": "age"}
    )


def leading_value_filter(field: str, title: str) -> type[LeadingValueFilter]:
    """A filter by a column that leads an index."""
    return type(
        "LeadingValueFilter",
        (LeadingValueFilter,),
        {"field": field, "title": title, "parameter_name": field},
    )
