"""Let failed jobs run again, by a filter. Exit codes: 0 fine, 1 nothing was changed or it was
stopped, 2 misuse, 3 no connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from hodei.actor import actor
from hodei.schema.management.arguments import past, whole
from hodei.schema.management.reports import FINE, FOUND, MISUSE, ActionCommand
from hodei.wording import counted
from jobs.services.requeue import MOST_COUNTED, RETRIED, RequeueFilter, count, requeue
from jobs.states import FailureKind, JobState

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

LIMIT = 1_000


class Command(ActionCommand):
    help = (
        "Let failed jobs run again, the oldest first: at least once more, however many attempts "
        "they have spent. Says how many match, and asks before it begins. For one job, by its id: "
        "jobs_act ID retry. Exit codes: 0 fine, 1 nothing was changed or it was stopped, 2 misuse, "
        "3 the database could not be used."
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
            type=past,
            metavar="WHEN",
            help=(
                "Only jobs that failed then or later: a date (2026-03-31), a time in UTC, or how "
                "long ago (90m, 12h, 7d)."
            ),
        )
        parser.add_argument(
            "--limit",
            type=whole("jobs", most=10**9),
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
        self.stderr.write("1 job matches." if found == 1 else f"{many} jobs match{which}.")
        if options["dry_run"] or not found:
            self.stdout.write("0 jobs were requeued")
            return FINE
        if options["interactive"]:
            answer = self.ask(
                f"Requeue {counted(number, 'job')}? Type yes:", instead="Give --no-input to go on."
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
                f"Stopped; requeued so far: {done:,}. The same command goes on with the rest.",
                returncode=FOUND,
            ) from None
        were = "was" if result.jobs == 1 else "were"
        self.stdout.write(f"{counted(result.jobs, 'job')} {were} requeued (batch {result.batch})")
        return FINE
