"""What tests of decisions have in common: how they ask, and what they are told."""

from __future__ import annotations

from typing import Any

from django.contrib.messages import get_messages
from django.db import models
from django.urls import reverse

from hodei.admin.deciding import DecidingAdmin
from jobs.models import Job
from tests.admin.pages import admins, view

DECIDING = [one for one in admins() if isinstance(one, DecidingAdmin)]

WHY = "the customer has called"


def decide(row: models.Model | type[models.Model], name: str, **query: Any) -> str:
    if isinstance(row, models.Model):
        query = {"id": row.pk, **query}
    return reverse(view(row, "decide"), args=(name,), query=query or None)


def told(answer: Any) -> list[str]:
    return [str(message) for message in get_messages(answer.wsgi_request)]


def job(name: str) -> Job:
    return Job.objects.get(name=name)
