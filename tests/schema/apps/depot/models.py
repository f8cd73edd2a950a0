from __future__ import annotations

from django.db import models


class Shelf(models.Model):
    id = models.BigAutoField(primary_key=True)
    label = models.TextField()

    def __str__(self) -> str:
        return self.label


class Crate(models.Model):
    id = models.BigAutoField(primary_key=True)
    shelf = models.ForeignKey(Shelf, models.CASCADE)
    name = models.TextField(default="")

    class Meta:
        indexes = [models.Index(fields=["name"], name="depot_crate_name_idx")]

    def __str__(self) -> str:
        return self.name
