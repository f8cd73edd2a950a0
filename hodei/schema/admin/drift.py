"""Drift on demand: one comparison of a database at a time, and its findings in groups."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction

from hodei.schema.connection import check_connection, connection_errors, require_postgresql
from hodei.schema.errors import SchemaError
from hodei.schema.results import Finding, SchemaValidationResult, Severity
from hodei.schema.service import MigrationService

#: Seconds that one waits for the comparison of another.
PATIENCE = 10.0
_PAUSE = 0.1
#: Findings of one severity that a page shows; the command lists all.
SHOWN = 200

#: The first of the two numbers of the lock, as in ``run.lock``; the second is of no meaning.
LOOK = 0x686F6467


class ComparisonGoingOn(SchemaError):  # noqa: N818  (it reads as the fact it states)
    """Others compare this database, and are not done yet."""

    exit_code = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The findings of one severity."""

    severity: Severity
    title: str
    meaning: str
    #: The first SHOWN of them.
    findings: tuple[Finding, ...]
    total: int
    #: How many there are of each kind, the most frequent first; for more than one screen.
    kinds: tuple[tuple[str, int], ...]

    @property
    def more(self) -> int:
        return self.total - len(self.findings)


_TITLES = {
    Severity.ERROR: ("Errors", "Missing, or other than the migrations say. The schema is invalid."),
    Severity.WARNING: ("Warnings", "There, and no migration asks for it; or worth a look."),
    Severity.INFO: ("Information", "Names, comments, storage: nothing that the code can notice."),
}


def compare(using: str, *, patience: float | None = None) -> SchemaValidationResult:
    """Validate the database against its migrations, when nobody else does it from these pages.

    A replay takes some room in the server's lock table, which all of its clients share, so a second
    click, here or in another process, waits for the first. The lock is a transaction's, on Django's
    connection; nobody waits inside one. Raises what ``validate`` does, and ComparisonGoingOn.
    """
    deadline = time.monotonic() + (PATIENCE if patience is None else patience)
    check_connection(using)
    connection = require_postgresql(using)
    with connection_errors(using):
        while True:
            with transaction.atomic(using=using):
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_try_advisory_xact_lock(%s, 0)", [LOOK])
                    (is_ours,) = cursor.fetchone()
                if is_ours:
                    return MigrationService(using).validate()
            if time.monotonic() >= deadline:
                raise ComparisonGoingOn(
                    "Somebody else compares this database at the moment, and is not done yet. Try "
                    "again in a few seconds."
                )
            time.sleep(_PAUSE)


def groups(findings: Sequence[Finding], shown: int = SHOWN) -> tuple[Group, ...]:
    """By severity, the worst first; inside it as they were found. Without empty groups."""
    found = []
    for severity in Severity:
        chosen = [finding for finding in findings if finding.severity is severity]
        if chosen:
            title, meaning = _TITLES[severity]
            kinds = Counter(finding.kind.value.replace("_", " ") for finding in chosen)
            found.append(
                Group(
                    severity=severity,
                    title=title,
                    meaning=meaning,
                    findings=tuple(chosen[:shown]),
                    total=len(chosen),
                    kinds=tuple(kinds.most_common()),
                )
            )
    return tuple(found)
