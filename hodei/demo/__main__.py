"""The demo: ``make demo``, or ``python -m hodei.demo``. It ends by itself within two minutes.

Everything is real: the database, the runner, the workers, and the signal that kills one.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hodei.demo.stage import NoStage, stage

if TYPE_CHECKING:
    from hodei.demo.timeline import Timeline

#: Seconds in which it ends, whatever happens.
MOST_SECONDS = 100.0
SCRIPT = "for n in 1 2 3 4 5 6 7 8; do echo step $n of 8; sleep 0.5; done"


class Stuck(Exception):  # noqa: N818
    """Something that was to happen did not. The text says what was waited for."""


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code: 1 where it did not go as it should, 3 without a database."""
    argparse.ArgumentParser(
        prog="python -m hodei.demo",
        description=(
            "Show a job outlive the worker that runs it, on real processes and in a database of "
            "its own, which is dropped at the end: on the server that DATABASE_URL names, or else "
            "the embedded one."
        ),
        epilog="Exit codes: 0 it did, 1 it did not, 3 no database, 130 interrupted.",
    ).parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    try:
        with stage() as folder:
            import django  # noqa: PLC0415  (the environment is set now)

            django.setup()
            return _play(folder)
    except NoStage as error:
        sys.stderr.write(f"hodei: {error}\n")
        return 3
    except KeyboardInterrupt:
        sys.stderr.write("hodei: interrupted; everything is stopped and removed\n")
        return 130


def _play(folder: Path) -> int:
    from django.db import connections  # noqa: PLC0415

    from hodei.demo.timeline import Timeline  # noqa: PLC0415
    from sagas.providers.process import ProcessProvider  # noqa: PLC0415

    config = {"folder": str(folder / "workers"), "grace": 2}
    timeline = Timeline()
    try:
        with _runner(folder):
            _tell(timeline, folder, config)
    except Stuck as error:
        timeline.look()
        sys.stderr.write(f"hodei: {error}\n{_logs(folder)}")
        return 1
    finally:
        for path in (folder / "workers").glob("*.json"):
            ProcessProvider(config).destroy(path.stem, {})
        connections.close_all()
    return 0


def _tell(timeline: Timeline, folder: Path, config: dict[str, object]) -> None:
    from hodei.demo.timeline import rows  # noqa: PLC0415
    from jobs.services import logs, providers  # noqa: PLC0415
    from jobs.services.queue import enqueue  # noqa: PLC0415

    def waits(what: str, condition: Callable[[], bool]) -> None:
        while not condition():
            timeline.look()
            if timeline.elapsed() > MOST_SECONDS:
                raise Stuck(f"{what} did not happen within {MOST_SECONDS:.0f} seconds.")
            time.sleep(0.1)
        timeline.look()

    def runs_on() -> list[tuple[uuid.UUID, int]]:
        return rows(
            "SELECT w.id, (w.handle->'infrastructure'->>'pid')::int FROM job_leases AS l "
            "JOIN workers AS w ON w.id = l.worker_id JOIN jobs AS j ON j.id = l.job_id "
            "WHERE j.state = 'RUNNING' AND w.handle ? 'infrastructure'"
        )

    timeline.say("A provider that starts workers as processes of this machine. None runs yet.")
    providers.save(
        uuid.uuid4(),
        name="this machine",
        provider_type="process",
        config=config,
        max_workers=1,
        actor="demo",
    )
    timeline.say("A job of eight steps is enqueued, to be run by a saga.")
    command = {"type": "script", "interpreter": "sh", "content": SCRIPT}
    job = enqueue(
        spec={"command": command}, name="report", orchestrated=True, correlation_id="demo"
    ).id
    waits("A run of the job", lambda: bool(runs_on()))
    ((first, pid),) = runs_on()
    pause = timeline.elapsed() + 1.5
    waits("The middle of the job", lambda: timeline.elapsed() > pause)
    timeline.say(f"In the middle of it, its worker, process {pid}, is killed (SIGKILL).")
    os.kill(pid, signal.SIGKILL)
    waits("Another run of the job", lambda: any(worker != first for worker, _ in runs_on()))
    timeline.say("Another worker has it, and runs it again.")
    waits(
        "The end of the job",
        lambda: rows("SELECT state FROM jobs") == [("SUCCEEDED",)],
    )
    waits(
        "The end of all sagas",
        lambda: not rows("SELECT FROM sagas WHERE outcome IS NULL"),
    )
    timeline.say("It is done. What the run that ended has written:")
    sys.stdout.write(b"".join(logs.read(job)).decode(errors="replace"))
    timeline.say("The sagas, and how they ended:")
    for kind, outcome, steps in rows(
        "SELECT s.saga_type, s.outcome, string_agg(t.step_name, ', ' ORDER BY t.step_order) "
        "FROM sagas AS s JOIN saga_steps AS t ON t.saga_id = s.id "
        "GROUP BY s.id ORDER BY s.started_at, s.id"
    ):
        sys.stdout.write(f"            {kind:<13} {outcome:<10} {steps}\n")
    timeline.say("Everything that was started is stopped now, and the database is dropped.")


@contextmanager
def _runner(folder: Path) -> Iterator[None]:
    with (folder / "runner.log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "django", "sagas_runner"],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _logs(folder: Path) -> str:
    files = [folder / "runner.log", *(folder / "workers").glob("*.log")]
    found = [f"-- {path.name}\n{path.read_text(errors='replace')[-3000:]}" for path in files]
    return "\n".join(found) + "\n"


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
