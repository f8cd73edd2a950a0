"""Enqueue one job. Exit codes: 0 enqueued, or known already; 2 misuse; 3 no connection."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError

from hodei.redaction import redact_text
from hodei.schema.management.arguments import whole
from hodei.schema.management.reports import FINE, MISUSE, DatabaseCommand
from jobs.management.arguments import PRIORITIES, delay, priority, timeout
from jobs.management.files import read_json
from jobs.services.queue import enqueue
from jobs.spec import MOST_ATTEMPTS, JobInvalid

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(DatabaseCommand):
    help = (
        "Enqueue one job and print its id: a command (jobs_enqueue -- echo hello), or any spec "
        "from a file. A worker runs it (jobs_worker). Exit codes: 0 fine, 2 misuse or an invalid "
        "job, 3 the database could not be used."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "command",
            nargs="*",
            metavar="-- PROGRAM ARGUMENT",
            help="The program to run and its arguments, after two dashes. No shell looks at them.",
        )
        parser.add_argument(
            "--spec",
            metavar="FILE",
            help="A file with the spec of the job as JSON, in place of a command; - is stdin.",
        )
        parser.add_argument("--name", default="", help="What to call it, for people.")
        parser.add_argument("--queue", default="default", help="Its queue. Without it: default.")
        parser.add_argument(
            "--priority",
            type=priority,
            default=0,
            metavar="N",
            help=f"{PRIORITIES}; higher runs first within its queue. Without it: 0.",
        )
        parser.add_argument(
            "--delay",
            type=delay,
            default=0.0,
            metavar="SECONDS",
            help="Run it no sooner than in so many seconds.",
        )
        parser.add_argument(
            "--timeout",
            type=timeout,
            metavar="SECONDS",
            help="The longest that a run may take.",
        )
        parser.add_argument(
            "--max-attempts",
            type=whole("runs", most=MOST_ATTEMPTS),
            default=3,
            metavar="N",
            help="Runs, the first one among them, before it stays failed. Without it: 3.",
        )
        parser.add_argument(
            "--key",
            metavar="TEXT",
            help="Its idempotency key: a second job with the same key is the first one.",
        )

    def report(self, **options: Any) -> int:
        try:
            found = enqueue(
                using=options["database"],
                spec=self.spec(options),
                name=options["name"] or redact_text(" ".join(options["command"]))[:255],
                queue=options["queue"],
                priority=options["priority"],
                run_after=self.run_after(options["delay"]),
                timeout=options["timeout"] and timedelta(seconds=options["timeout"]),
                max_attempts=options["max_attempts"],
                idempotency_key=options["key"],
            )
        except (JobInvalid, ImproperlyConfigured) as error:
            raise CommandError(str(error), returncode=MISUSE) from error
        self.stdout.write(str(found.id))
        if not found.is_new:
            self.stderr.write("There was a job with this key already; nothing was enqueued.")
        return FINE

    def spec(self, options: dict[str, Any]) -> Any:
        words, file = options["command"], options["spec"]
        if bool(words) == bool(file):
            raise CommandError(
                "Give either a command after two dashes (jobs_enqueue -- echo hello) or --spec "
                "FILE.",
                returncode=MISUSE,
            )
        if words:
            return {"command": {"type": "shell", "cmd": words[0], "args": words[1:]}}
        return read_json(file)

    def run_after(self, delay: float) -> datetime | None:
        return datetime.now(UTC) + timedelta(seconds=delay) if delay else None
