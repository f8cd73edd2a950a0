"""Steps that leave effects: local ones in the transaction of their record, others in "another
system", which is a connection of its own; and processes that die where a test says."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable
from contextlib import closing
from typing import Any

from django.db import connections

from hodei.sessions import connect
from sagas import points
from sagas.definition import (
    NOT_DONE,
    Done,
    Retry,
    Saga,
    Step,
    StepContext,
    StepFailed,
    Verdict,
)
from sagas.runner import Runner, RunnerOptions

INSERT = "INSERT INTO effects (saga, step, what, key) VALUES (%s, %s, %s, %s)"
QUICK = Retry(attempts=5, base=0.001, cap=0.002, unknown=True)
UNDOING = Retry(attempts=5, base=0.001, cap=0.002)


def local(context: StepContext) -> str:
    with connections[context.using].cursor() as cursor:
        cursor.execute(INSERT, [context.saga_id, context.step, "done", context.key])
    return context.step


def undo_local(context: StepContext) -> None:
    with connections[context.using].cursor() as cursor:
        cursor.execute(INSERT, [context.saga_id, context.step, "undone", context.key])


def remote(context: StepContext) -> str:
    _there(context, "done")
    return context.step


def undo_remote(context: StepContext) -> None:
    _there(context, "undone")


def refuse(_context: StepContext) -> None:
    raise StepFailed("It is not wanted.", retry=False)


def was_done(context: StepContext) -> Verdict:
    with closing(connect(context.using, "test")) as session:
        row = session.execute(
            "SELECT count(*) FROM effects WHERE saga = %s AND step = %s AND what = 'done'",
            [context.saga_id, context.step],
        ).fetchone()
    return Done(context.step) if row and row[0] else NOT_DONE


def _there(context: StepContext, what: str) -> None:
    with closing(connect(context.using, "test")) as session:
        session.execute(INSERT, [context.saga_id, context.step, what, context.key])


class Forward(Saga):
    """Local, remote, parallel and pivot steps, all of which are done in the end."""

    kind = "FORWARD"
    steps = (
        Step("reserve", local, undo_local, local=True),
        Step("note", local, undo_local, local=True),
        Step("charge", remote, undo_remote, verify=was_done, retry=QUICK),
        Step("pack", remote, undo_remote, group="both", retry=QUICK),
        Step("label", remote, undo_remote, group="both", verify=was_done, retry=QUICK),
        Step("ship", remote, pivot=True, verify=was_done, retry=QUICK),
        Step("thank", remote, retry=QUICK),
        Step("close", local, local=True),
    )


class Backward(Saga):
    """The same until the pivot, which is refused."""

    kind = "BACKWARD"
    steps = (
        Step("reserve", local, undo_local, local=True),
        Step(
            "charge", remote, undo_remote, verify=was_done, retry=QUICK, compensation_retry=UNDOING
        ),
        Step("pack", remote, undo_remote, group="both", compensation_retry=UNDOING),
        Step("label", remote, undo_remote, group="both", verify=was_done, retry=QUICK),
        Step("note", local, undo_local, local=True),
        Step("ship", refuse, pivot=True, retry=QUICK),
        Step("close", local, local=True),
    )


def in_a_fork(work: Callable[[], Any]) -> int:
    """Do it in a process of its own, which shares no connection; returns its exit code, or the
    negative number of the signal that ended it."""
    connections.close_all()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:  # noqa: BLE001  (nothing of pytest is to run here)
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def run_and_die(number: int, **options: Any) -> int:
    """Run until nothing is due in a process that kills itself at the point of this number."""

    def work() -> None:
        left = number

        def die(_point: str) -> None:
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

        with points.listening(die):
            Runner(RunnerOptions(**{"drain": True, "chores": False, **options})).run()

    return in_a_fork(work)
