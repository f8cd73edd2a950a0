"""How a run of migrations ends when it does not end well."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hodei.schema.errors import SchemaError
from hodei.schema.results import Direction

if TYPE_CHECKING:
    from hodei.schema.results import MigrationResult
    from hodei.schema.run.watch import Blocker

_LOCK_NOT_AVAILABLE = "55P03"
_DEADLOCK = "40P01"


class MigrationFailed(SchemaError):  # noqa: N818  (it reads as the fact it states)
    """A migration raised. ``results`` are those of this run, in order; the last is the failure."""

    exit_code = 5

    def __init__(self, results: Sequence[MigrationResult]) -> None:
        self.results = tuple(results)
        super().__init__(self.results)

    @property
    def failure(self) -> MigrationResult:
        return self.results[-1]

    def __str__(self) -> str:
        failed = self.failure
        return (
            f"Migration {failed.app}.{failed.name} failed after {failed.duration_ms} ms: "
            f"{failed.error}. {self._kept()} "
            "Correct the migration or the data and run again, which goes on from here."
        )

    def _kept(self) -> str:
        done = "Undone" if self.failure.direction is Direction.BACKWARD else "Applied"
        return f"{done} in this run before it, and kept: {len(self.results) - 1}."


class MigrationBlocked(MigrationFailed):
    """A migration did not get its locks, in as many attempts as it was given."""

    exit_code = 4

    def __init__(
        self, results: Sequence[MigrationResult], attempts: int, blockers: tuple[Blocker, ...]
    ) -> None:
        super().__init__(results)
        self.attempts = attempts
        self.blockers = blockers

    def __str__(self) -> str:
        failed = self.failure
        times = "1 attempt" if self.attempts == 1 else f"{self.attempts} attempts"
        who = "; ".join(map(str, self.blockers)) or "sessions that could not be seen"
        return (
            f"Migration {failed.app}.{failed.name} did not get its locks in {times}. In its way: "
            f"{who}. {self._kept()} Wait for these sessions or end them, then run again, which "
            "goes on from here."
        )


def describe(error: BaseException) -> str:
    """What went wrong, on one line: the class, the words, and the SQLSTATE where there is one."""
    words = " ".join(str(error).split())
    sqlstate = sqlstate_of(error)
    told = f"{type(error).__name__}: {words}" if words else type(error).__name__
    return f"{told} (SQLSTATE {sqlstate})" if sqlstate else told


def sqlstate_of(error: BaseException) -> str | None:
    found = getattr(error.__cause__, "sqlstate", None) or getattr(error, "sqlstate", None)
    return str(found) if found else None


def is_blocked(error: BaseException) -> bool:
    """Whether it failed for want of a lock alone, so that another attempt may succeed."""
    return sqlstate_of(error) in {_LOCK_NOT_AVAILABLE, _DEADLOCK}


def trace_of(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))
