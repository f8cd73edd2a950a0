"""Addresses of the admin's pages, and the admins of the apps."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db import models
from django.urls import reverse

from hodei.admin.readonly import ReadOnlyAdmin


def admins() -> list[ReadOnlyAdmin]:
    """The admins of jobs, outbox and sagas, by their models' names."""
    ours = [one for one in admin.site._registry.values() if isinstance(one, ReadOnlyAdmin)]
    return sorted(ours, key=lambda one: one.opts.label)


def view(model: type[models.Model] | models.Model, name: str) -> str:
    return f"admin:{model._meta.app_label}_{model._meta.model_name}_{name}"


def list_of(model: type[models.Model], **query: Any) -> str:
    return reverse(view(model, "changelist"), query=query or None)


def page_of(row: models.Model) -> str:
    return reverse(view(row, "change"), args=(quote(row.pk),))
