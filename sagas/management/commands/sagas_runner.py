"""Drive sagas until told to stop. Exit codes: 0 fine, 2 misuse or a wrong definition, 3 the
database could not be used at the start."""

from __future__ import annotations

import os
import signal
import threading
from argparse import ArgumentTypeError
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError
from django.db import connections

from hodei.schema.connection import words_of
from hodei.schema.management.arguments import seconds, whole
from hodei.schema.management.reports import FINE, MISUSE, UNVERIFIED, DatabaseCommand
from hodei.wording import counted
from sagas import registry
from sagas.checks import check_sagas
from sagas.runner import LONGEST_POLL, Runner, RunnerOptions

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

MOST_SLOTS = 1_000


class Command(DatabaseCommand):
    help = (
        "Drive sagas: take those that are due, call their steps, and write down what came of it, "
        "until SIGTERM or Ctrl-C. Calls that are under way then are waited for; a second signal "
        "stops at once, and another runner goes on when the lease ends. Start as many as you like, "
        "on as many machines. Exit codes: 0 fine, 2 misuse or a wrong definition, 3 the database "
        "could not be used at the start."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--concurrency",
            type=whole("calls at once", most=MOST_SLOTS),
            default=10,
            metavar="N",
            help="How many steps to call at once that are not local. Without it: 10.",
        )
        parser.add_argument(
            "--kinds",
            type=_kinds,
            default=(),
            metavar="A,B",
            help="Only sagas of these kinds. Without it: of all that are registered.",
        )
        parser.add_argument(
            "--drain",
            action="store_true",
            help="End when there is nothing left to do now; sagas that are due later are left.",
        )
        parser.add_argument(
            "--poll",
            type=seconds(0.05, 3600),
            default=LONGEST_POLL,
            metavar="SECONDS",
            help=(
                "How often to look for sagas while there are none; a new one wakes a runner in any "
                f"case, except behind a pooler. Without it: {LONGEST_POLL:g}."
            ),
        )

    def report(self, **options: Any) -> int:
        from psycopg import Error  # noqa: PLC0415

        wrong = check_sagas()
        if wrong:
            raise CommandError(f"{wrong[0].msg} {wrong[0].hint or ''}".strip(), returncode=MISUSE)
        definitions = self._definitions(options["kinds"])
        runner = Runner(
            RunnerOptions(
                using=options["database"],
                concurrency=options["concurrency"],
                drain=options["drain"],
                definitions=definitions,
                longest_poll=options["poll"],
                chores=not options["drain"],
            )
        )
        # A runner waits for a database that is away; without these tables, or without the right to
        # write to them, it would do so for ever.
        with closing(connections[options["database"]].copy()) as look, look.cursor() as cursor:
            cursor.execute("UPDATE sagas SET lease_epoch = lease_epoch WHERE false")
        restore = _stop_by_signals(runner)
        kinds = ", ".join(sorted({one.kind for one in definitions})) or "no kind at all"
        self.stderr.write(f"Runner {runner.owner} drives sagas of {kinds}.")
        try:
            runner.run()
        except Error as error:
            raise CommandError(
                words_of(error, options["database"]), returncode=UNVERIFIED
            ) from error
        finally:
            restore()
        ended, calls = runner.counts.ended, runner.counts.calls
        self.stdout.write(f"{counted(ended, 'saga')} ended, {counted(calls, 'call')}")
        return FINE

    def _definitions(self, kinds: tuple[str, ...]) -> list[Any]:
        known = list(registry.definitions())
        for kind in kinds:
            try:
                registry.definition(kind)
            except registry.SagaNotRegistered as error:
                raise CommandError(str(error), returncode=MISUSE) from error
        return [one for one in known if not kinds or one.kind in kinds]


def _stop_by_signals(runner: Runner) -> Callable[[], None]:
    """Let SIGTERM and SIGINT stop it, the second one at once. Returns what undoes it."""
    if threading.current_thread() is not threading.main_thread():
        return lambda: None

    def end(number: int, _frame: object) -> None:
        if runner.stop.is_set():
            # A thread that runs somebody's code cannot be ended; the process can.
            os._exit(128 + number)
        runner.stop.set()
        runner.wake()

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    return restore


def _kinds(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise ArgumentTypeError(f"{text!r} is no list of kinds; give names, separated by commas.")
    return names
