"""The tables of the jobs app: jobs, the queue beside them, workers, providers, audit and logs.

Foreign keys have no constraint in Django's eyes: the database's own, with their actions, are set by
migrations, since Django's are deferrable and know no ON DELETE before 6.1.

Modules: ``provider``, ``worker`` (also tokens), ``job`` (also its failed attempts), ``queue``,
``lease``, ``schedule``, ``audit`` and ``log``.
"""

from __future__ import annotations

from jobs.models.audit import AuditRecord
from jobs.models.job import FailedAttempt, Job
from jobs.models.lease import Lease
from jobs.models.log import LogFile, LogGarbage, LogTail
from jobs.models.provider import Provider
from jobs.models.queue import DeferredEntry, QueueEntry
from jobs.models.schedule import Schedule
from jobs.models.worker import BootstrapToken, Worker

__all__ = [
    "AuditRecord",
    "BootstrapToken",
    "DeferredEntry",
    "FailedAttempt",
    "Job",
    "Lease",
    "LogFile",
    "LogGarbage",
    "LogTail",
    "Provider",
    "QueueEntry",
    "Schedule",
    "Worker",
]
