"""Delete what is done and old: published events, what consumers have seen, dead letters.

Exit codes: 0 done; 1 stopped before the end, or another prune is at work; 2 misuse or
configuration; 3 the database could not be used.
"""

from __future__ import annotations

import time
from argparse import ArgumentTypeError
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError

from hodei.schema.connection import words_of
from hodei.schema.management.reports import FINE, FOUND, MISUSE, UNVERIFIED, ActionCommand
from hodei.wording import counted
from outbox.conf import MOST_DAYS, Retention, outbox_settings
from outbox.management.stopping import stopped_by_signals
from outbox.services.retention import PruneBusy, Pruned, prune

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

SECONDS_BETWEEN_NOTICES = 1.0
#: As the other commands say it, and the word that this one took first.
NEVER, KEEP = "never", "keep"
#: Options, fields of Retention, and what is meant.
KINDS = (
    ("--published-days", "published_days", "events that were published"),
    ("--inbox-days", "inbox_days", "what consumers have seen"),
    ("--dead-letter-days", "dead_letter_days", "dead letters that somebody dealt with"),
)


class Command(ActionCommand):
    help = (
        "Delete events that were published long ago and what consumers have seen, older than "
        "HODEI_OUTBOX['RETENTION'] says or than is asked for here; dead letters that were dealt "
        "with only where one of the two says so. Never an event that waits, nor one with an open "
        "dead letter. It works in small batches, so that it can run beside everything else and be "
        "stopped at any time; the next run goes on. Exit codes: 0 done, 1 stopped or another prune "
        "is at work, 2 misuse or wrong settings, 3 the database could not be used."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        for option, _field, things in KINDS:
            parser.add_argument(
                option,
                type=_days,
                metavar="DAYS",
                help=(
                    f"Delete {things} more than so many days ago, or never. Without it the setting "
                    "counts."
                ),
            )

    def report(self, **options: Any) -> int:
        from psycopg import Error  # noqa: PLC0415  (there may be no driver where help is asked for)

        try:
            with stopped_by_signals() as stop:
                pruned = prune(
                    self.retention(options),
                    dry_run=options["dry_run"],
                    stop=stop,
                    tell=self.progress(),
                    using=options["database"],
                )
        except ImproperlyConfigured as error:
            raise CommandError(str(error), returncode=MISUSE) from error
        except PruneBusy as error:
            raise CommandError(str(error), returncode=FOUND) from error
        except Error as error:
            raise CommandError(
                words_of(error, options["database"]), returncode=UNVERIFIED
            ) from error
        verb = "Would delete" if options["dry_run"] else "Deleted"
        self.stdout.write(f"{verb} {told(pruned)}.")
        if pruned.is_interrupted:
            self.stderr.write("Stopped before the end; the next run goes on.")
            return FOUND
        return FINE

    def retention(self, options: dict[str, Any]) -> Retention:
        """The setting, with what is asked for in its place."""
        asked = {field: options[field] for _, field, _ in KINDS if options[field] is not None}
        days = {field: None if value == NEVER else value for field, value in asked.items()}
        return replace(outbox_settings().retention, **days)

    def progress(self) -> Any:
        """Tell how far it is, once a second at most."""
        said = time.monotonic()

        def tell(pruned: Pruned) -> None:
            nonlocal said
            if time.monotonic() - said >= SECONDS_BETWEEN_NOTICES:
                said = time.monotonic()
                self.stderr.write(f"  {told(pruned)}")
                self.stderr.flush()

        return tell


def told(pruned: Pruned) -> str:
    return (
        f"{counted(pruned.events, 'published event')}, "
        f"{counted(pruned.inbox, 'inbox entry', 'inbox entries')}, "
        f"{counted(pruned.dead_letters, 'dead letter')}"
    )


def _days(text: str) -> int | str:
    if text in {NEVER, KEEP}:
        return NEVER
    try:
        days = int(text)
    except ValueError:
        days = -1
    if not 0 <= days <= MOST_DAYS:
        raise ArgumentTypeError(
            f"{text!r} is no number of days; give 0 to {MOST_DAYS}, or {NEVER}."
        )
    return days
