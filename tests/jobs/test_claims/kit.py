from __future__ import annotations

import uuid
from typing import Any

import psycopg

from jobs import leases
from jobs.runs import Claimed, Ended
from jobs.states import JobState

Session = psycopg.Connection[Any]


ME, OTHER = uuid.uuid4(), uuid.uuid4()


def claim(session: Session, number: int = 10, *, worker: uuid.UUID = ME, **options: Any) -> Any:
    options = {"starting": number, "queues": ["default"], **options}
    queues = options.pop("queues")
    return leases.claim(session, worker, queues, number, **options)


def ended(job: Claimed, state: JobState = JobState.SUCCEEDED, **values: Any) -> Ended:
    return Ended(job.id, job.epoch, state, **values)
