"""The values this app's services return. Plain data: no Django, no connection."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

#: App label and migration name, as ``django_migrations`` has them.
MigrationKey = tuple[str, str]


class Direction(StrEnum):
    """Which way a migration ran."""

    FORWARD = "forward"
    BACKWARD = "backward"


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationResult:
    """One migration that ran, or tried to."""

    app: str
    name: str
    direction: Direction
    #: In UTC, by this machine's clock.
    started_at: datetime
    duration_ms: int
    success: bool
    #: The server's words and SQLSTATE, on one line; None after a success.
    error: str | None
    #: See ``checksums``; None where the migration has no source (compiled only).
    checksum: str | None
    #: The database role it ran as.
    applied_by: str


class Severity(StrEnum):
    """Whether a finding makes the schema invalid."""

    ERROR = "error"
    WARNING = "warning"


class FindingKind(StrEnum):
    """What was found; the value is the word that the summary uses."""

    #: Leaf migrations of one app that no merge joins: ``migrate`` refuses to run.
    CONFLICTING = "conflicting"
    #: Applied before something it depends on: ``migrate`` refuses to run.
    INCONSISTENT = "inconsistent"
    #: Recorded as applied, and neither on disk nor replaced by what is.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing about the schema that somebody should know."""

    kind: FindingKind
    severity: Severity
    #: What it is about: ``app.migration``, or an app's label.
    subject: str
    #: What was found and what to do, in full sentences.
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaValidationResult:
    """Which migrations there should be, and which there are.

    The tuples are disjoint sets in the order of the graph: every expected migration is in exactly
    one of applied, pending and failed, and an unknown one is only in ``findings``.
    """

    applied_migrations: tuple[MigrationKey, ...]
    expected_migrations: tuple[MigrationKey, ...]
    pending_migrations: tuple[MigrationKey, ...]
    #: Expected, and their last attempt failed. Empty while nothing records failures: Django does
    #: not, and such a migration is pending.
    failed_migrations: tuple[MigrationKey, ...]
    #: The one applied last, an unknown one too, by the order of the records; None if none is.
    last_migration: MigrationKey | None
    findings: tuple[Finding, ...]

    @property
    def is_valid(self) -> bool:
        """Everything expected is applied, and nothing found is an error."""
        return set(self.applied_migrations) >= set(self.expected_migrations) and not any(
            finding.severity is Severity.ERROR for finding in self.findings
        )

    def summary(self) -> str:
        """One line for a log; what is found beside the migrations is appended when not zero."""
        applied, expected = len(self.applied_migrations), len(self.expected_migrations)
        if self.is_valid:
            text = f"Schema valid: {applied}/{expected} migrations applied"
        else:
            text = (
                f"Schema INVALID: {applied}/{expected} applied, "
                f"{len(self.pending_migrations)} pending, {len(self.failed_migrations)} failed"
            )
        counts = Counter(finding.kind for finding in self.findings)
        return text + "".join(f", {counts[kind]} {kind}" for kind in FindingKind if counts[kind])
