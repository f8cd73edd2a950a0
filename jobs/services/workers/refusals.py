"""What can stand against what is asked of a worker."""

from __future__ import annotations

import uuid

from hodei.values import identifier, named
from jobs.models import Worker
from jobs.services.workers.silence import SILENCE_SECONDS


class WorkerNotFound(LookupError):  # noqa: N818  (it reads as the fact it states)
    """There is no worker of this id."""

    def __init__(self, worker_id: uuid.UUID) -> None:
        super().__init__(f"There is no worker {named(worker_id)}.")


class WorkerStateConflict(Exception):  # noqa: N818
    """The worker is in no state from which this is possible. Nothing was changed."""

    def __init__(self, worker_id: uuid.UUID, found: str, action: str, allowed: str) -> None:
        self.worker_id = worker_id
        self.found = found
        super().__init__(f"Worker {worker_id} is {found} and cannot {action}; {allowed}.")


class WorkerAlive(Exception):  # noqa: N818
    """The worker was to be given up as lost, and has given a sign of life. Nothing was changed."""

    def __init__(self, worker_id: uuid.UUID) -> None:
        super().__init__(
            f"Worker {worker_id} gave a sign of life within {SILENCE_SECONDS:.0f} seconds, so it "
            "is not lost. Terminate it to end it all the same."
        )


class WorkerInvalid(ValueError):  # noqa: N818
    """What was given can be no worker. Nothing was stored. The text names the field, the value and
    the rule."""


class JobHasWorker(Exception):  # noqa: N818
    """Another live worker has the job. Nothing was changed."""

    def __init__(self, job_id: uuid.UUID) -> None:
        super().__init__(
            f"Job {named(job_id)} has a live worker already; one job has one at a time."
        )


def known(worker_id: object) -> None:
    """Raises WorkerNotFound for what is the id of nothing."""
    if identifier(worker_id) is None:
        raise WorkerNotFound(worker_id)  # type: ignore[arg-type]


def conflict(worker_id: uuid.UUID, action: str, allowed: str, using: str) -> Exception:
    state = Worker.objects.using(using).filter(pk=worker_id).values_list("state", flat=True).first()
    if state is None:
        return WorkerNotFound(worker_id)
    return WorkerStateConflict(worker_id, state, action, allowed)
