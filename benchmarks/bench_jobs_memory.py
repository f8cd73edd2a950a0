"""How much memory jobs need: a worker of many slots, enqueueing millions, and a log of gigabytes.

Claims: a worker of 50 slots stays under 120 MiB; ``enqueue_many`` of 5,000,000 jobs from a
generator needs what 50,000 need; and so does a command that writes 5 GB where another writes 50 MB.

Each case is a process of its own, which tells what memory it held at most (VmHWM). Jobs of the
worker are tasks of Django that do nothing. The log is lines of 100 bytes, and is stored as a file:
twice its size is needed on the disk.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from database import CACHE, execute, migrated, postgresql  # noqa: E402
from jobs_load import TASK_SPEC, arguments, calm, empty, executors, fill, workers  # noqa: E402
from measuring import Target, in_turn, report  # noqa: E402

SLOTS = 50
#: Share of the large case that the small one has.
SHARE = 100
IDLE = f"worker of {SLOTS} slots, no job"
LINE = "x" * 99
ENQUEUE = """
import os, sys
from database import set_up
set_up(os.environ["DATABASE_URL"])
from jobs_load import fill
from run_worker import peak
fill(int(sys.argv[1]))
print(peak())
"""


def main(rounds: int, jobs: int, enqueued: int, log: int) -> None:
    if not Path("/proc/self/status").exists():
        print("NOT RUN: this system does not tell the memory of a process in /proc.")
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        settings = {
            "JOBS_EXECUTORS": executors("noop", "python", "command"),
            "JOBS_LOG_SPOOL": folder,
            "STORAGES": storages(Path(folder)),
        }
        with migrated("bench_jobs_memory", **settings):
            busy = f"worker of {SLOTS} slots, {jobs:,} tasks"
            few, many = f"enqueue_many {enqueued // SHARE:,}", f"enqueue_many {enqueued:,}"
            small, large = f"log of {log // SHARE:,} MB", f"log of {log:,} MB"
            cases: dict[str, Callable[[], float]] = {
                IDLE: lambda: worked(0),
                busy: lambda: worked(jobs),
                few: lambda: stored(enqueued // SHARE),
                many: lambda: stored(enqueued),
                small: lambda: written(log // SHARE, Path(folder)),
                large: lambda: written(log, Path(folder)),
            }
            figures = in_turn(cases, rounds)
            facts = {"jobs": jobs, "postgresql": postgresql()}
    report(
        "jobs_memory",
        figures,
        unit="MiB",
        against=IDLE,
        settings=facts,
        targets=[
            Target(busy, most=120),
            Target(many, few, most=1.1),
            Target(large, small, most=1.1),
        ],
    )


def storages(folder: Path) -> dict[str, Any]:
    plain = "django.core.files.storage.FileSystemStorage"
    return {
        "default": {"BACKEND": plain},
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
        "job_logs": {"BACKEND": plain, "OPTIONS": {"location": str(folder / "logs")}},
    }


def worked(jobs: int) -> float:
    empty()
    fill(jobs, TASK_SPEC)
    calm()
    return run_worker(jobs, concurrency=SLOTS)


def run_worker(jobs: int, **options: Any) -> float:
    with workers(1, drain=True, **options) as ours:
        ours.begin()
        (told,) = ours.hear()
    if told["runs"] != jobs:
        raise SystemExit(f"{told['runs']} of {jobs} jobs were run.")
    if states := execute("SELECT string_agg(state, ' ') FROM jobs WHERE state <> 'SUCCEEDED'"):
        raise SystemExit(
            f"A job is {states[:200]}: {execute('SELECT max(error_message) FROM jobs')}"
        )
    return float(told["peak"]) / 1024


def stored(jobs: int) -> float:
    empty()
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys; sys.path[:0] = {sys.path[:2]!r}\n{ENQUEUE}",
            str(jobs),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"enqueue_many failed: {done.stderr[-2000:]}")
    if (found := execute("SELECT count(*) FROM jobs")) != jobs:
        raise SystemExit(f"{found} of {jobs} jobs were stored.")
    return int(done.stdout) / 1024


def written(megabytes: int, folder: Path) -> float:
    """A command that writes so much, run by a worker; its log must be there as a whole."""
    from jobs.services.queue import enqueue  # noqa: PLC0415

    empty()
    size = megabytes * 1_000_000
    script = f"yes {LINE} | head -c {size}"
    enqueue(
        spec={
            "command": {"type": "script", "interpreter": "sh", "content": script},
            "timeout_ms": 3_600_000,
        },
        max_attempts=1,
    )
    peak = run_worker(1, concurrency=1)
    logs = folder / "logs"
    found = sum(path.stat().st_size for path in logs.rglob("*") if path.is_file())
    shutil.rmtree(logs)
    if found < size:
        raise SystemExit(f"The log has {found:,} of {size:,} bytes.")
    return peak


if __name__ == "__main__":
    parser = arguments(__doc__ or "", 1)
    parser.add_argument("--jobs", type=int, default=50_000, help="jobs of the worker")
    parser.add_argument("--enqueued", type=int, default=5_000_000, help="jobs of enqueue_many")
    parser.add_argument("--log", type=int, default=5_000, help="MB that a command writes")
    given = parser.parse_args()
    if min(given.enqueued, given.log) < SHARE:
        parser.error(f"--enqueued and --log are at least {SHARE}.")
    os.environ.setdefault("LOG_LEVEL", "ERROR")
    main(given.rounds, given.jobs, given.enqueued, given.log)
