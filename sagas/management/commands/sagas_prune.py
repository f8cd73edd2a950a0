"""Delete old sagas. Exit codes: 0 fine, 1 another process prunes or it was stopped, 2 misuse, 3 no
connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from hodei.schema.management.reports import FINE, FOUND, DatabaseCommand
from jobs.management.ages import STOPPED, add_ages
from sagas.services.retention import AUDIT_KEPT, SAGAS_KEPT, PruneBusy, prune

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

AGES = {
    "sagas": ("sagas that ended, whichever way", SAGAS_KEPT),
    "failed": ("sagas of which something is left behind", None),
    "audit": ("audit events of sagas that are gone", AUDIT_KEPT),
}


class Command(DatabaseCommand):
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
        ages = {name: options[name] for name in AGES}
        try:
            for found in prune(**ages, using=options["database"]):
                self.stdout.write(f"{found.what:20}{found.rows:>12,}")
        except PruneBusy as error:
            raise CommandError(str(error), returncode=FOUND) from error
        except KeyboardInterrupt:
            raise CommandError(STOPPED, returncode=FOUND) from None
        return FINE
