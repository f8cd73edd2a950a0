"""What runs a job: one class for each kind of spec, named by the spec's one key.

``{"command": {...}}`` is for the executor ``command``, ``{"python": {...}}`` for ``python``, and
whatever a third party registers for its own. JOBS_EXECUTORS says which of them this project uses;
a worker refuses other specs, and ``enqueue`` does not store them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from jobs.runs import Outcome, Run


class SpecInvalid(ValueError):  # noqa: N818  (it reads as the fact it states)
    """The spec cannot be run. The text names the field, the value and the rule."""


class Executor(Protocol):
    """Runs jobs of one kind. One instance for each worker process; ``run`` is called from many
    threads at once."""

    #: Seconds that a run may take where the job does not say; None is no limit.
    default_timeout: float | None

    def validate(self, spec: Mapping[str, Any]) -> None:
        """Raise SpecInvalid for what can never run; ``spec`` is what stands under the key. Called
        where a job is enqueued, so it must be quick and touch nothing."""

    def open(self, slots: int) -> None:
        """The worker begins; so many runs there will be at once."""

    def run(self, run: Run) -> Outcome:
        """Run it and return what came of it. What it raises is a failure of kind Unknown.

        No transaction is open. The time limit is the executor's to keep where it can (``deadline``
        of the run); where it cannot, the worker writes TIMEOUT down and the thread goes on.
        """
        ...

    def close(self) -> None:
        """The worker ends."""


@runtime_checkable
class LooksBeside(Protocol):
    """An executor that has a say in what stands beside its key in the spec, too."""

    def validate_beside(self, beside: Mapping[str, Any]) -> None:
        """Raise SpecInvalid for what can never run; called after ``validate``."""
