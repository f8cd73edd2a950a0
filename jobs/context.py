"""What a task is told of its run, where it takes a context."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.db import connections, router, transaction
from django.utils import timezone

from hodei.compat import TaskContext
from jobs import retry, telling
from jobs.exceptions import LeaseLost

if TYPE_CHECKING:
    from hodei.compat import TaskResult
    from jobs.runs import Run

    AnyContext = TaskContext[Any, Any]
else:
    AnyContext = TaskContext


class JobContext(AnyContext):
    """The first argument of a task with ``takes_context``: Django's, and what ours has besides."""

    # Django's is frozen, in a way that its subclasses cannot even set what is theirs.
    __setattr__ = object.__setattr__

    def __init__(self, run: Run) -> None:
        self._run = run
        #: Whether the job was completed in a transaction that has committed.
        self.completed = False
        #: What it was completed with.
        self.result: Any = None

    @cached_property
    def task_result(self) -> TaskResult[Any, Any]:  # type: ignore[override]
        """As Django's; it costs, so it is made when it is asked for."""
        from jobs.task_results import of_run  # noqa: PLC0415

        return of_run(self._run)

    @property
    def job_id(self) -> str:
        return str(self._run.id)

    @property
    def attempt(self) -> int:
        """The number of this run, from 1."""
        return self._run.job.attempts

    @property
    def max_attempts(self) -> int:
        return self._run.job.max_attempts

    @property
    def deadline(self) -> datetime | None:
        """When the run's time is over; None where it has no limit."""
        left = self.seconds_left
        return None if left is None else timezone.now() + timedelta(seconds=left)

    @property
    def seconds_left(self) -> float | None:
        """Until the deadline, 0.0 after it; None where there is no limit."""
        if self._run.deadline is None:
            return None
        return max(self._run.deadline - time.monotonic(), 0.0)

    @property
    def stopping(self) -> bool:
        """Whether the run should end: it was cancelled, its lease is lost, or its time is over."""
        return self._run.stopping.is_set()

    def complete_in_transaction(self, result: Any = None) -> None:
        """Complete the job in the transaction that is open: it is SUCCEEDED when that commits.

        For work that must be done exactly once: the work and its end are one commit. On Django's
        connection to the database of the jobs. If the transaction is rolled back, the run ends by
        what the function returns or raises, as always.

        Raises LeaseLost where the job is not this run's any more, TransactionManagementError
        outside of a transaction, and ValueError for a result that cannot be stored.
        """
        from jobs.models import Job  # noqa: PLC0415  (a task's module may be imported before them)

        using = router.db_for_write(Job)
        if not connections[using].in_atomic_block:
            raise transaction.TransactionManagementError(
                "complete_in_transaction is called inside of transaction.atomic(): without one "
                "there is nothing that the job could be completed with."
            )
        text = retry.result_text(result)
        with connections[using].cursor() as cursor:
            cursor.execute(
                telling.text("complete"),
                {"id": self._run.id, "epoch": self._run.job.epoch, "result": text},
            )
            if cursor.fetchone() is None:
                raise LeaseLost(f"Job {self._run.id} is not this run's any more.")

        def committed() -> None:
            self.completed, self.result = True, result

        transaction.on_commit(committed, using=using)
