"""Let failed jobs run again, by a filter. Exit codes: 0 fine, 1 nothing was changed or it was
stopped, 2 misuse, 3 no connection."""

from __future__ import annotations

from argparse import ArgumentTypeError
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from hodei.schema.management.reports import FINE, FOUND, MISUSE, ActionCommand
from hodei.schema.timing import instant
from jobs.management.actor import actor
from jobs.services.requeue import MOST_COUNTED, RETRIED, RequeueFilter, count, requeue
from jobs.states import FailureKind, JobState

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

LIMIT = 1_000


class Command(ActionCommand):
    help = (
        "Let failed jobs run again, the oldest first: at least once more, however many attempts "
        "they have spent. Says how many match, and asks before it begins. Exit codes: 0 fine, 1 "
        "nothing was changed or it was stopped, 2 misuse, 3 the database could not be used."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--state",
            choices=[state.value for state in RETRIED],
            help="Only jobs in this state. Without it: both.",
        )
        parser.add_argument("--queue", metavar="NAME", help="Only jobs of this queue.")
        parser.add_argument("--name", metavar="NAME", help="Only jobs of this name.")
        parser.add_argument(
            "--kind",
            choices=[kind.value for kind in FailureKind],
            metavar="KIND",
            help=(
                "Only jobs whose newest attempt failed so: "
                f"{', '.join(kind.value for kind in FailureKind)}."
            ),
        )
        parser.add_argument(
            "--since",
            type=_since,
            metavar="WHEN",
            help=(
                "Only jobs that failed then or later: a date (2026-03-31), a time in UTC, or how "
                "long ago (90m, 12h, 7d)."
            ),
        )
        parser.add_argument(
            "--limit",
            type=_limit,
            default=LIMIT,
            metavar="N",
            help=f"At most so many jobs. Without it: {LIMIT}.",
        )
        parser.add_argument(
            "--reason", metavar="TEXT", help="Why, for the audit. Needed, but for --dry-run."
        )
        parser.add_argument(
            "--no-input",
            "--noinput",
            action="store_false",
            dest="interactive",
            help="Do not ask: for scripts.",
        )

    def report(self, **options: Any) -> int:
        states = RETRIED if options["state"] is None else (JobState(options["state"]),)
        wanted = RequeueFilter(
            states=states,
            queue=options["queue"],
            name=options["name"],
            kind=options["kind"] and FailureKind(options["kind"]),
            since=options["since"],
        )
        if not options["dry_run"] and not (options["reason"] or "").strip():
            raise CommandError('Say why: --reason "the bucket is back".', returncode=MISUSE)
        found = count(wanted, using=options["database"])
        many = f"{found:,}{' or more' if found == MOST_COUNTED else ''}"
        number = min(found, options["limit"])
        which = "" if found <= options["limit"] else f"; the {number:,} oldest are taken (--limit)"
        self.stderr.write(f"{many} jobs match{which}.")
        if options["dry_run"] or not found:
            self.stdout.write("0 jobs were requeued")
            return FINE
        if options["interactive"]:
            answer = self.ask(
                f"Requeue {number:,} jobs? Type yes:", instead="Give --no-input to go on."
            )
            if answer != "yes":
                raise CommandError("Nothing was changed.", returncode=FOUND)
        return self._requeue(wanted, **options)

    def _requeue(self, wanted: RequeueFilter, **options: Any) -> int:
        done = 0

        def note(number: int) -> None:
            nonlocal done
            done = number

        try:
            result = requeue(
                wanted,
                reason=options["reason"],
                actor=actor(),
                limit=options["limit"],
                using=options["database"],
                on_batch=note,
            )
        except KeyboardInterrupt:
            raise CommandError(
                f"Stopped after {done:,} jobs, which are requeued; the same command goes on with "
                "the rest.",
                returncode=FOUND,
            ) from None
        self.stdout.write(f"{result.jobs:,} jobs were requeued (batch {result.batch})")
        return FINE


def _since(text: str) -> datetime:
    try:
        return instant(text, datetime.now(UTC))
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error


def _limit(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10**9:
        raise ArgumentTypeError(f"{text!r} is no number of jobs; give 1 or more.")
    return int(text)
