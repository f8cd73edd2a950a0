"""The use case: go back, under the lock, the limits and the history of ``migrate``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.db import Error

from hodei.schema import conf
from hodei.schema.backup import Backup
from hodei.schema.connection import connection_errors, connection_failed, require_postgresql
from hodei.schema.errors import SchemaError
from hodei.schema.operations import data_loss
from hodei.schema.results import MigrationResult
from hodei.schema.rollback.executor import RollbackExecutor
from hodei.schema.rollback.guards import refuse, refuse_other_steps
from hodei.schema.rollback.hold import Hold, check_path
from hodei.schema.rollback.preview import Preview, read_choice, read_preview
from hodei.schema.rollback.targets import Wish
from hodei.schema.run.failures import describe
from hodei.schema.run.start import migration_run

if TYPE_CHECKING:
    from hodei.schema.run.progress import Progress
    from hodei.schema.run.run import MigrationRun


class RollbackFailed(SchemaError):  # noqa: N818  (it reads as the fact it states)
    """The transaction of all steps failed, and by none of them. It was rolled back."""

    exit_code = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class WentBack:
    """What was done: one result for each step, in that order, and the backup if there is one."""

    results: tuple[MigrationResult, ...] = ()
    backup: Backup | None = None


def go_back(
    using: str,
    wish: Wish,
    *,
    allow_data_loss: bool = False,
    backup: Path | None = None,
    shown: Preview | None = None,
    command: str,
    retries: int = conf.LOCK_RETRIES,
    progress: Progress | None = None,
    progress_callback: Callable[..., Any] | None = None,
    verbosity: int = 0,
    stdout: Any = None,
) -> WentBack:
    """Undo what the wish names, or raise and leave it.

    Owns its transactions: one for all steps, or one for each as ``migrate`` has them where a step
    is not atomic. ``shown`` is what somebody has agreed to: the same steps, and no greater loss.
    ``backup`` is a new file for the tables that lose something.

    Raises the reasons of ``choose`` and of the guards before anything is touched; LockNotFree,
    TablesBusy, BackupFailed; MigrationFailed where a step fails, RollbackFailed where all of them
    do together; ConnectionFailed, EngineNotSupported.
    """
    check_path(backup)
    connection = require_postgresql(using)
    with (
        connection_errors(using),
        migration_run(using, command=command, lock_retries=retries, progress=progress) as run,
        data_loss(allowed=allow_data_loss),
    ):
        if shown is None:
            preview = read_preview(using, wish)
        else:
            refuse_other_steps(shown.keys, read_choice(using, wish).keys)
            preview = shown
        refuse(preview, allow_data_loss=allow_data_loss)
        if not preview.steps:
            return WentBack()
        hold = Hold(
            connection,
            preview,
            allowed=allow_data_loss,
            shown=shown is not None,
            path=backup,
        )
        if backup is not None and not preview.in_one_transaction:
            # No transaction lasts as long as the steps; so this is as of before the first.
            run.all_or_nothing(lambda: hold.before(None))
        executor = RollbackExecutor(
            connection,
            progress_callback,
            run=run,
            together=preview.in_one_transaction,
            guard=hold,
        )
        try:
            executor.go_back(preview.keys, verbosity=verbosity, stdout=stdout or sys.stdout)
        except Error as error:
            raise _failure(run, error, using) from error
        except SchemaError:
            raise
        except Exception as error:
            failure = run.failure()
            if failure is None:
                raise
            raise failure from error
    return WentBack(results=tuple(run.results), backup=hold.backup)


def _failure(run: MigrationRun, error: Error, using: str) -> Exception:
    failure = run.failure() or connection_failed(error, using)
    return failure or RollbackFailed(
        f"The way back failed: {describe(error)}. Its transaction was rolled back, and everything "
        "is as it was before it."
    )
