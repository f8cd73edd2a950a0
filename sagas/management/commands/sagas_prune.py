"""Delete old sagas. Exit codes: 0 fine, 1 another process prunes or it was stopped, 2 misuse, 3 no
connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from hodei.schema.management.reports import FINE, FOUND, ActionCommand
from jobs.management.ages import STOPPED, add_ages
from jobs.services.retention import PruneBusy
from sagas.services.retention import Keep, preview, prune

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

AGES = {
    "sagas": ("sagas that have ended, whichever way,", Keep().sagas),
    "failed": ("sagas of which something is left behind", Keep().failed),
    "audit": ("audit events of sagas that are gone", Keep().audit),
}


class Command(ActionCommand):
    help = (
        "Delete sagas that have ended, and audit events of sagas that are gone, each after a "
        "number of days. It works in small batches and may be stopped at any moment; call it "
        "again, or from cron. Exit codes: 0 fine, 1 another process prunes at this moment or it "
        "was stopped, 2 misuse, 3 the database could not be used."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        add_ages(parser, AGES)

    def report(self, **options: Any) -> int:
        keep, using = Keep(**{name: options[name] for name in AGES}), options["database"]
        try:
            for found in (preview if options["dry_run"] else prune)(keep, using=using):
                more = " or more" if found.is_capped else ""
                self.stdout.write(f"{found.what:20}{found.rows:>12,}{more}")
        except PruneBusy as error:
            raise CommandError(str(error), returncode=FOUND) from error
        except KeyboardInterrupt:
            raise CommandError(STOPPED, returncode=FOUND) from None
        if options["dry_run"]:
            self.stderr.write("Nothing was deleted.")
        return FINE
