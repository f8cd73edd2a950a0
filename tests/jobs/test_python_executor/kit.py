from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from typing import Any

from jobs.worker import Worker
from tests.jobs import example_tasks as examples
from tests.jobs.conftest import Jobs
from tests.working import at_work

HERE = "tests.jobs.example_tasks"


def running(worker: Worker) -> AbstractContextManager[threading.Thread]:
    """The worker at work in a thread, until the block ends."""
    return at_work(worker.run, worker.stop.set, examples.go_on.set)


def python(task: str, **spec: Any) -> dict[str, Any]:
    return {"python": {"task": f"{HERE}.{task}", **spec}}


def failures(jobs: Jobs) -> list[tuple[Any, ...]]:
    return jobs.rows("SELECT kind, error_class, message FROM job_failed_attempts ORDER BY id")
