"""What ``lifecycle`` does, told in words to the person who decided it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from jobs.services import lifecycle, requeue
from jobs.services.lifecycle import CancelOutcome


def cancel(job: uuid.UUID, **given: Any) -> str:
    """As ``lifecycle.cancel``."""
    if lifecycle.cancel(job, **given) is CancelOutcome.CANCELLED:
        return "Cancelled: it never begins."
    return "Asked its worker to stop it; it is CANCELLED when the run has ended."


def retry(job: uuid.UUID, **given: Any) -> str:
    """As ``lifecycle.retry``."""
    lifecycle.retry(job, **given)
    return "It waits in its queue again."


def retry_these(jobs: Sequence[uuid.UUID], **given: Any) -> tuple[list[uuid.UUID], list[str]]:
    """As ``requeue.retry_these``: those that wait again, and what is to be said of the others."""
    done = requeue.retry_these(jobs, **given)
    others = len(jobs) - len(done)
    why = "had not failed any more, or another changed them just then"
    return done, [f"{others:,} {why}."] if others else []


def hold(job: uuid.UUID, **given: Any) -> str:
    """As ``lifecycle.hold``."""
    lifecycle.hold(job, **given)
    return "Held: it does not run until it is released."


def release(job: uuid.UUID, **given: Any) -> str:
    """As ``lifecycle.release``."""
    lifecycle.release(job, **given)
    return "Released: it waits in its queue again."


def set_priority(job: uuid.UUID, **given: Any) -> str:
    """As ``lifecycle.set_priority``."""
    lifecycle.set_priority(job, **given)
    return f"It has the priority {given['priority']}."


def delete(job: uuid.UUID, **given: Any) -> str:
    """As ``lifecycle.delete``."""
    lifecycle.delete(job, **given)
    return "Deleted; the audit stays."
