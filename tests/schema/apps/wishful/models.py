from __future__ import annotations

from django.db import models


class Wish(models.Model):
    forgotten = models.TextField(null=True)

    def __str__(self) -> str:
        return str(self.pk)
