"""Run jobs until told to stop. Exit codes: 0 fine, 2 misuse or wrong settings, 3 the database could
not be used at the start."""

from __future__ import annotations

import os
import signal
import threading
from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.db import Error as DatabaseError

from hodei.schema.connection import words_of
from hodei.schema.management.arguments import seconds, whole
from hodei.schema.management.reports import FINE, MISUSE, UNVERIFIED, DatabaseCommand
from hodei.wording import counted
from jobs.conf import wanted
from jobs.registration import IdentityInvalid, identity_of
from jobs.registry import executors
from jobs.services.tokens import TokenRefused
from jobs.services.workers import WorkerNotFound, WorkerStateConflict
from jobs.worker import LONGEST_POLL, MOST_CLAIMED, Worker, WorkerOptions

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

MOST_SLOTS = 1_000


class Command(DatabaseCommand):
    help = (
        "Run jobs: claim them, run each, and write down how it ended, until SIGTERM or Ctrl-C. "
        "What runs then is finished, and what has not begun goes back into the queue; a second "
        "signal stops at once, and others run again what was running. Start as many as you like, "
        "on as many machines. Exit codes: 0 fine, 2 misuse or wrong settings, 3 the database could "
        "not be used at the start."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--queues",
            type=_queues,
            default=(),
            metavar="A,B",
            help="The queues to take jobs from, separated by commas. Without it: from all of them.",
        )
        parser.add_argument(
            "--concurrency",
            type=whole("jobs at once", most=MOST_SLOTS),
            default=10,
            metavar="N",
            help="How many jobs to run at once. Without it: 10.",
        )
        parser.add_argument(
            "--batch",
            type=whole("jobs of one claim", most=MOST_CLAIMED),
            default=MOST_CLAIMED,
            metavar="N",
            help=f"How many jobs to claim at once, at most. Without it: {MOST_CLAIMED}.",
        )
        parser.add_argument(
            "--drain",
            action="store_true",
            help="End when there is nothing left to do now; jobs that are due later are left.",
        )
        parser.add_argument(
            "--max-jobs",
            type=whole("jobs", most=10**9),
            metavar="N",
            help="End after so many runs.",
        )
        parser.add_argument(
            "--poll",
            type=seconds(0.05, 3600),
            default=LONGEST_POLL,
            metavar="SECONDS",
            help=(
                "How often to look for jobs while there are none, and at least as often as without "
                "it; a new job wakes a worker in any case, except behind a pooler. Without it: "
                f"{LONGEST_POLL}."
            ),
        )

    def report(self, **options: Any) -> int:
        from psycopg import Error  # noqa: PLC0415

        try:
            known, identity = ", ".join(executors()), identity_of()
            wanted()
        except (ImproperlyConfigured, IdentityInvalid) as error:
            raise CommandError(str(error), returncode=MISUSE) from error
        worker = Worker(
            WorkerOptions(
                using=options["database"],
                queues=options["queues"],
                concurrency=options["concurrency"],
                batch=options["batch"],
                drain=options["drain"],
                max_jobs=options["max_jobs"],
                longest_poll=options["poll"],
                identity=identity,
            )
        )
        restore = _stop_by_signals(worker)
        queues = ", ".join(options["queues"]) or "every queue"
        self.stderr.write(
            f"Worker {worker.id} runs {known} jobs of {queues}, {options['concurrency']} at once."
        )
        try:
            worker.run()
        except (TokenRefused, WorkerNotFound, WorkerStateConflict) as error:
            raise CommandError(str(error), returncode=MISUSE) from error
        except (Error, DatabaseError) as error:
            raise CommandError(
                words_of(error, options["database"]), returncode=UNVERIFIED
            ) from error
        finally:
            restore()
        self.stdout.write(counted(worker.runs, "run"))
        return FINE


def _stop_by_signals(worker: Worker) -> Callable[[], None]:
    """Let SIGTERM and SIGINT stop it, the second one at once. Returns what undoes it."""
    if threading.current_thread() is not threading.main_thread():
        return lambda: None

    told = threading.Event()

    def end(number: int, _frame: object) -> None:
        # It may end already, since its row says so: that was no signal.
        if told.is_set():
            # A thread that runs somebody's code cannot be ended; the process can.
            threading.Timer(2.0, os._exit, [128 + number]).start()
            # Not here: what was interrupted may have the lock that it needs.
            threading.Thread(target=worker.stop_now, name="jobs stop", daemon=True).start()
            return
        told.set()
        worker.stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    return restore


def _queues(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(1 <= len(name) <= 64 for name in names):
        raise ArgumentTypeError(
            f"{text!r} is no list of queues; give names of 1 to 64 characters, separated by commas."
        )
    return names
