"""Tasks of Django that benchmarks run as jobs."""

from __future__ import annotations

from typing import Any

from jobs.tasks import task


@task
def noop(**payload: Any) -> None: ...
