"""The same as tasks of Django, which are known by where they stand."""

from __future__ import annotations

from typing import Any

from django.tasks import task
from peer_app import plain


@task
def noop(**payload: Any) -> None:
    plain.noop(**payload)


@task
def clock(at: float, **payload: Any) -> None:
    plain.clock(at, **payload)
