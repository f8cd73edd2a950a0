"""The process of one run: ``python -m jobs.executors.child FD``, started by ``isolated``.

It is told the job by its first line of input, and answers with a line on FD. Its input stays open
as long as its worker lives.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
import uuid
from dataclasses import replace
from datetime import datetime
from typing import Any

from jobs.runs import Claimed, Failed, Outcome, Run, Succeeded
from jobs.states import FailureKind


def main() -> None:
    answers, told = int(sys.argv[1]), os.dup(0)
    os.set_inheritable(answers, False)  # noqa: FBT003
    # What it runs must not read what is ours.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    given = json.loads(_line(told))
    threading.Thread(target=_end_with_worker, args=[told], daemon=True).start()

    import django  # noqa: PLC0415  (only now is it known that there is something to do)

    django.setup()
    _answer(answers, _bounded(_run(_run_of(given))))


def _line(fd: int) -> bytes:
    found = bytearray()
    while not found.endswith(b"\n"):
        chunk = os.read(fd, 65_536)
        if not chunk:
            sys.exit(1)  # the worker is gone already
        found += chunk
    return bytes(found)


def _end_with_worker(fd: int) -> None:
    while os.read(fd, 1):
        pass
    os.killpg(0, signal.SIGKILL)


def _run_of(given: dict[str, Any]) -> Run:
    job = given["job"]
    job["id"] = uuid.UUID(job["id"])
    for time in ("created_at", "started_at"):
        job[time] = job[time] and datetime.fromisoformat(job[time])
    return Run(Claimed(**job), uuid.UUID(given["worker"]), given["using"], given["deadline"])


def _run(run: Run) -> Outcome:
    from jobs.callables import callee  # noqa: PLC0415  (Django is set up only now)
    from jobs.connections import end_left_all  # noqa: PLC0415
    from jobs.executors.python import call, call_async, left_open  # noqa: PLC0415

    given = run.spec["python"]
    try:
        found = callee(given["task"])
    except Exception as error:  # noqa: BLE001  (its worker could import it, and it cannot)
        return Failed(FailureKind.CONFIGURATION_ERROR, str(error), retryable=True)
    if found.is_async:
        return asyncio.run(call_async(found, given, run))[0]
    outcome, _ = call(found, given, run)
    return left_open(outcome, found) if end_left_all() else outcome


def _bounded(outcome: Outcome) -> Outcome:
    """What the worker would cut or refuse does not go through the pipe."""
    from jobs import retry  # noqa: PLC0415

    if isinstance(outcome, Succeeded):
        try:
            retry.result_text(outcome.result)
        except ValueError as error:
            return Failed(FailureKind.VALIDATION_ERROR, str(error), retryable=False)
    if isinstance(outcome, Failed):
        # One character more than is kept says that there was more.
        message, trace = outcome.message[: retry.LONGEST_ERROR + 1], outcome.traceback
        cut = None if trace is None else trace[-retry.LONGEST_TRACEBACK :]
        return replace(outcome, message=message, traceback=cut)
    return outcome


def _answer(fd: int, outcome: Outcome) -> None:
    from jobs.executors import wire  # noqa: PLC0415

    with os.fdopen(fd, "wb") as answers:
        answers.write(json.dumps(wire.encode(outcome)).encode() + b"\n")


if __name__ == "__main__":
    main()
