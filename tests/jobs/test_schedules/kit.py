from __future__ import annotations

from typing import Any

from jobs.services import schedules
from tests.jobs.conftest import Jobs

SPEC = {"test": {"do": "succeed"}}


def add(name: str = "nightly", **options: Any) -> Any:
    return schedules.add(name, **{"cron": "0 * * * *", "spec": SPEC, "actor": "me", **options})


def due(jobs: Jobs, ago: str = "0 s", *, name: str = "nightly") -> None:
    """Let its next time be the hour that began so long ago."""
    jobs.execute(
        "UPDATE job_schedules SET next_run_at = date_trunc('hour', now() - %s::interval) "
        "WHERE name = %s",
        [ago, name],
    )
