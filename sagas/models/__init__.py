"""The tables of the sagas app: sagas, steps and their attempts, locks and the audit.

Foreign keys have no constraint in Django's eyes: the database's own are set by migrations.

Modules: ``saga``, ``step`` (also its attempts), ``lock`` and ``audit``.
"""

from __future__ import annotations

from sagas.models.audit import SagaAuditEvent
from sagas.models.lock import SagaLock
from sagas.models.saga import Saga
from sagas.models.step import SagaStep, SagaStepAttempt

__all__ = [
    "Saga",
    "SagaAuditEvent",
    "SagaLock",
    "SagaStep",
    "SagaStepAttempt",
]
