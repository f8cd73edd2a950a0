"""The register of workers: they are made, register, live, drain and end.

- ``create``, ``register``, ``register_local``  let a worker in
- ``heartbeat``                 a sign of life
- ``move``, ``drain``           into another state
- ``terminate``, ``lose_worker``  end it, and give its jobs to others
- ``assign``, ``release``       note the one job of a worker that runs one at a time
- ``find``                      see which there are

Modules: ``refusals`` what can be wrong, ``silence`` after how long one is gone, ``registering``,
``states``, ``assigning``, ``reading``, and ``recording`` what is told of it.
"""

from __future__ import annotations

from jobs.services.workers.assigning import assign, release
from jobs.services.workers.reading import MOST_FOUND, WorkerPage, find
from jobs.services.workers.refusals import (
    JobHasWorker,
    WorkerAlive,
    WorkerInvalid,
    WorkerNotFound,
    WorkerStateConflict,
)
from jobs.services.workers.registering import create, local_provider, register, register_local
from jobs.services.workers.silence import MAKING_SECONDS, SILENCE_SECONDS
from jobs.services.workers.states import drain, heartbeat, lose_worker, move, terminate

__all__ = [
    "MAKING_SECONDS",
    "MOST_FOUND",
    "SILENCE_SECONDS",
    "JobHasWorker",
    "WorkerAlive",
    "WorkerInvalid",
    "WorkerNotFound",
    "WorkerPage",
    "WorkerStateConflict",
    "assign",
    "create",
    "drain",
    "find",
    "heartbeat",
    "local_provider",
    "lose_worker",
    "move",
    "register",
    "register_local",
    "release",
    "terminate",
]
