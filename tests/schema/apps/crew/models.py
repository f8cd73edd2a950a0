from __future__ import annotations

import uuid

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models


class Member(AbstractUser):
    """The project's user."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    mentor = models.ForeignKey("self", models.SET_NULL, null=True, related_name="mentored")


class Badge(models.Model):
    holders = models.ManyToManyField(settings.AUTH_USER_MODEL)
    label = models.CharField(max_length=40, unique=True)

    class Meta:
        indexes = [models.Index(fields=["-label"], name="crew_badge_label_idx")]

    def __str__(self) -> str:
        return self.label
