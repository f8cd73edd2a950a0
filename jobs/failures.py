"""The line of a worker's own log for a run that failed."""

from __future__ import annotations

import logging

from hodei.redaction import redact_text
from jobs.runs import Ended, Run
from jobs.states import JobState

#: It is the worker that says it.
logger = logging.getLogger("jobs.worker")

#: Characters of an error.
LONGEST_LOGGED = 200


def log_failure(run: Run, ended: Ended) -> None:
    """One line for a run that failed; that a task has failed for good Django logs by itself."""
    again = ended.state is JobState.PENDING
    if ended.kind is None or not (again or run.told is None):
        return
    if not logger.isEnabledFor(logging.WARNING):
        return
    words = " ".join(redact_text(ended.error or "").split())
    logger.warning(
        "a run failed job_id=%s name=%s attempt=%s/%s again_in=%s kind=%s error=%s",
        run.id,
        run.job.name,
        run.job.attempts,
        run.job.max_attempts,
        f"{ended.seconds:.1f}" if again and ended.seconds is not None else "never",
        ended.kind,
        words if len(words) <= LONGEST_LOGGED else f"{words[: LONGEST_LOGGED - 3]}...",
    )
