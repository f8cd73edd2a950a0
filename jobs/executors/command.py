"""Runs programs: ``{"command": {...}}``, as ``jobs.processes.invocation`` reads it.

A program runs without a shell, in a session and a group of its own, with the few variables of the
worker that JOBS_COMMAND_ENVIRONMENT names and those of its spec. What it writes goes to the job's
log as it comes. At its timeout, and when the job is cancelled, its whole group is asked to end
(SIGTERM) and, after JOBS_COMMAND_GRACE_SECONDS, made to.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from hodei.redaction import secret_values, secret_words
from jobs.executors import SpecInvalid
from jobs.logs import conf as logs
from jobs.logs.keeper import Keeper
from jobs.logs.masking import needles
from jobs.logs.recorder import STDERR, STDOUT
from jobs.logs.run_log import RunLog
from jobs.processes.guard import Guard
from jobs.processes.invocation import (
    ATTEMPT,
    JOB_ID,
    RUN,
    Invocation,
    check_beside,
    check_command,
    invocation_of,
)
from jobs.processes.program import (
    LINGER_SECONDS,
    UNKILLABLE_SECONDS,
    End,
    Ended,
    Program,
    SpawnFailed,
)
from jobs.runs import Cancelled, Failed, Outcome, Run, Succeeded, TimedOut
from jobs.states import FailureKind

#: Variables of the worker that a command gets; nothing else of its environment reaches one.
DEFAULT_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")
DEFAULT_GRACE_SECONDS = 5.0
#: Seconds beyond those of grace after which a run that has not ended is the worker's to give up.
END_SECONDS = LINGER_SECONDS + UNKILLABLE_SECONDS + 5.0


class CommandExecutor:
    """The executor ``command``."""

    #: The original's.
    default_timeout: float | None = 300.0

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._workers = 0
        self._guard = Guard()
        self._keepers: dict[str, Keeper] = {}

    def validate(self, spec: Mapping[str, Any]) -> None:
        check_command(spec)

    def validate_beside(self, beside: Mapping[str, Any]) -> None:
        check_beside(beside)

    def open(self, slots: int) -> None:
        with self._mutex:
            self._workers += 1

    def close(self) -> None:
        with self._mutex:
            self._workers -= 1
            if self._workers > 0:
                return
            keepers, self._keepers = self._keepers, {}
            guard, self._guard = self._guard, Guard()
        for keeper in keepers.values():
            keeper.close()
        guard.close()

    def run(self, run: Run) -> Outcome:
        try:
            invocation = invocation_of(run.spec)
        except SpecInvalid as error:
            return Failed(FailureKind.VALIDATION_ERROR, str(error))
        try:
            env = self._environment(run, invocation)
            # The stop of a worker closes what is there; this run has it until it ends.
            guard, keeper = self._guard, self._keeper(run.using)
            secrets = (*secret_values(env), *secret_words(invocation.words), *logs.secrets())
            log = RunLog(run, needles(secrets), keeper)
        except ImproperlyConfigured as error:
            return Failed(FailureKind.CONFIGURATION_ERROR, str(error))
        if invocation.timeout is not None and run.job.timeout is None:
            # What the job itself says goes before its spec.
            run.deadline = time.monotonic() + invocation.timeout
        try:
            outcome = _run(run, invocation, log, env=env, guard=guard)
            if isinstance(outcome, Failed | TimedOut | Cancelled):
                log.note(outcome.message)
        finally:
            log.close()
        return outcome

    def _keeper(self, using: str) -> Keeper:
        with self._mutex:
            return self._keepers.setdefault(using, Keeper(using))

    def _environment(self, run: Run, invocation: Invocation) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in inherited_names() if name in os.environ}
        mark = self._guard.mark(f"{run.id}.{run.job.epoch}")
        ours = {JOB_ID: str(run.id), ATTEMPT: str(run.job.attempts), RUN: mark}
        return {**inherited, **invocation.env, **ours}


def inherited_names() -> tuple[str, ...]:
    """JOBS_COMMAND_ENVIRONMENT. Raises ImproperlyConfigured."""
    given = getattr(settings, "JOBS_COMMAND_ENVIRONMENT", DEFAULT_ENVIRONMENT)
    if not isinstance(given, list | tuple) or not all(
        isinstance(name, str) and name and "=" not in name for name in given
    ):
        raise ImproperlyConfigured(
            f"JOBS_COMMAND_ENVIRONMENT is {given!r}; it is a list of names of variables."
        )
    return tuple(given)


def grace_seconds() -> float:
    """JOBS_COMMAND_GRACE_SECONDS. Raises ImproperlyConfigured."""
    given = getattr(settings, "JOBS_COMMAND_GRACE_SECONDS", DEFAULT_GRACE_SECONDS)
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= 3600:
        raise ImproperlyConfigured(
            f"JOBS_COMMAND_GRACE_SECONDS is {given!r}; it is a number of seconds, 0 to 3600."
        )
    return float(given)


def _run(
    run: Run, invocation: Invocation, log: RunLog, *, env: Mapping[str, str], guard: Guard
) -> Outcome:
    retryable = None if invocation.allow_retry else False
    try:
        grace = grace_seconds()
        run.grace = grace + END_SECONDS
        guard.start()
        script = nullcontext(()) if invocation.script is None else _script(invocation.script, guard)
        with script as words:
            program = Program(
                (*invocation.words, *words),
                env=env,
                working_dir=invocation.working_dir,
                stdin=None if invocation.stdin is None else invocation.stdin.encode(),
                guard=guard,
            )
            ended = program.wait(run, sink=log.write, grace=grace)
            # It is over; what its log still takes is not held against it.
            run.deadline = None
    except SpawnFailed as error:
        result = failed_result(None, str(error), "")
        again = retryable if error.retryable is None else error.retryable
        return Failed(error.kind, str(error), result=result, retryable=again)
    except ImproperlyConfigured as error:
        return Failed(FailureKind.CONFIGURATION_ERROR, str(error))
    except OSError as error:
        message = f"The command could not be run: {error}."
        return Failed(FailureKind.IO_ERROR, message, retryable=retryable)
    log.end()
    return outcome_of(run, invocation, ended, log)


def outcome_of(run: Run, invocation: Invocation, ended: Ended, log: RunLog) -> Outcome:
    """What the end of a program means for its job."""
    retryable = None if invocation.allow_retry else False
    errors = log.excerpt(STDERR)
    match ended:
        case Ended(by=End.STOP):
            return Cancelled(result="Cancelled")
        case Ended(by=End.TIMEOUT):
            limit = run.job.timeout or invocation.timeout or CommandExecutor.default_timeout
            message = f"Timed out after {limit:g} s, and was ended with all that it had started."
            return TimedOut(message, "Timeout", retryable)
        case Ended(code=0):
            output = log.excerpt(STDOUT)
            return Succeeded(
                {"Success": {"exit_code": 0, "output": output, "error_output": errors}}
            )
        case Ended(code=code) if code is not None and code < 0:
            message = f"Ended by {_name(-code)}."
            result = failed_result(128 - code, message, errors)
            return Failed(FailureKind.SIGNAL_RECEIVED, message, result=result, retryable=retryable)
    message = f"Exit code {ended.code}."
    result = failed_result(ended.code, message, errors)
    return Failed(FailureKind.NON_ZERO_EXIT_CODE, message, result=result, retryable=retryable)


def failed_result(code: int | None, message: str, errors: str) -> dict[str, Any]:
    """The original's shape; ``code`` is 128 and the number of the signal where one ended it."""
    return {"Failed": {"exit_code": code, "error_message": message, "error_output": errors}}


@contextmanager
def _script(content: str, guard: Guard) -> Iterator[tuple[str]]:
    """The path of a file with the script, readable by us alone, until the block ends."""
    folder = Path(tempfile.gettempdir()) / f"hodei-script-{uuid.uuid4().hex}"
    guard.add_folder(str(folder))
    try:
        folder.mkdir(mode=0o700)
        path = folder / "script"
        path.write_text(content, encoding="utf-8", newline="")
        yield (str(path),)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        guard.remove_folder(str(folder))


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
