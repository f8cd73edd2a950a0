"""An executor for tests: a job says in its spec what is to become of it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from hodei.values import shown
from jobs.executors import SpecInvalid
from jobs.runs import Cancelled, Failed, Outcome, Run, Snoozed, Succeeded, TimedOut
from jobs.states import FailureKind

#: Of the runs of this process, by what their specs have under ``n``.
ran: list[Any] = []
#: What no executor may return.
WRONG: list[Any] = [
    *(None, "done", Failed("no kind", "no"), Failed(FailureKind.UNKNOWN, 7)),  # type: ignore[arg-type]
    *(Failed(FailureKind.UNKNOWN, "no", b"x"), Snoozed("soon"), Succeeded),  # type: ignore[arg-type]
]
began = threading.Event()
go_on = threading.Event()


class Scripted:
    """``{"test": {"do": ..., "n": ...}}``: succeed, fail, raise, time out, snooze, wait or set what
    its run has."""

    default_timeout: float | None = None

    def validate(self, spec: Mapping[str, Any]) -> None:
        if not isinstance(spec, Mapping) or "do" not in spec:
            raise SpecInvalid(f"spec['test'] is {shown(spec)}; it says what to do.")

    def open(self, slots: int) -> None: ...

    def run(self, run: Run) -> Outcome:
        spec = run.spec["test"]
        ran.append(spec.get("n"))
        began.set()
        match spec["do"]:
            case "fail":
                for name, value in spec.get("set", {}).items():
                    setattr(run, name, value)
                kind = FailureKind(spec.get("kind", "Unknown"))
                return Failed(kind, "it was to fail", retry_in=spec.get("retry_in"))
            case "raise":
                raise ValueError("as it was told")
            case "time out":
                return TimedOut("too slow")
            case "snooze" if run.job.attempts == 1 and not run.metadata.get("snoozed"):
                return Snoozed(spec.get("seconds", 0.0))
            case "return":
                return WRONG[spec["n"]]
            case "wait":
                waited = threading.Event()
                run.on_stop(waited.set)
                while not waited.is_set() and not go_on.is_set():
                    waited.wait(0.01)
                return Cancelled() if run.stopping.is_set() else Succeeded("waited")
        return Succeeded({"n": spec.get("n")})

    def close(self) -> None: ...
