"""Delete what is old. Exit codes: 0 fine, 1 another process prunes or it was stopped, 2 misuse,
3 no connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from hodei.schema.management.reports import FINE, FOUND, ActionCommand
from jobs.management.ages import STOPPED, add_ages
from jobs.services.retention import JOBS_KEPT, Keep, PruneBusy, preview, prune
from jobs.states import JobState

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

#: Options, what they are about, and the default.
AGES = {
    "succeeded": ("jobs that succeeded", JOBS_KEPT[JobState.SUCCEEDED]),
    "cancelled": ("jobs that were cancelled", JOBS_KEPT[JobState.CANCELLED]),
    "failed": ("jobs that failed", JOBS_KEPT[JobState.FAILED]),
    "timeout": ("jobs that took too long", JOBS_KEPT[JobState.TIMEOUT]),
    "audit": ("audit records", Keep().audit),
    "workers": ("workers that ended", Keep().workers),
    "tokens": ("expired tokens, used or not,", Keep().tokens),
}


class Command(ActionCommand):
    help = (
        "Delete jobs that have ended, audit records, workers that have ended, expired "
        "tokens, and log files whose time is up, each after a number of days. It works in small "
        "batches and may be stopped at any moment; call it again, or from cron. Exit codes: 0 "
        "fine, 1 another process prunes at this moment or it was stopped, 2 misuse, 3 the database "
        "could not be used."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        add_ages(parser, AGES)

    def report(self, **options: Any) -> int:
        keep = Keep(
            jobs={
                JobState.SUCCEEDED: options["succeeded"],
                JobState.CANCELLED: options["cancelled"],
                JobState.FAILED: options["failed"],
                JobState.TIMEOUT: options["timeout"],
            },
            audit=options["audit"],
            workers=options["workers"],
            tokens=options["tokens"],
        )
        using = options["database"]
        try:
            for found in (preview if options["dry_run"] else prune)(keep, using=using):
                more = " or more" if found.is_capped else ""
                self.stdout.write(f"{found.what:20}{found.rows:>12,}{more}")
        except PruneBusy as error:
            raise CommandError(str(error), returncode=FOUND) from error
        except KeyboardInterrupt:
            raise CommandError(STOPPED, returncode=FOUND) from None
        if options["dry_run"]:
            self.stderr.write("Nothing was deleted; log files whose time is up are not counted.")
        return FINE
