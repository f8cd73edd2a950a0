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

    #: It does: something is missing, or other than the migrations say.
    ERROR = "error"
    #: It does not, and somebody should look: something is there that nobody asked for.
    WARNING = "warning"
    #: It changes nothing that the code can notice: a name, a comment, a storage parameter.
    INFO = "info"


class FindingKind(StrEnum):
    """What was found. The first six are about migrations, the others about database objects."""

    #: Leaf migrations of one app that no merge joins: ``migrate`` refuses to run.
    CONFLICTING = "conflicting"
    #: Applied before something it depends on: ``migrate`` refuses to run.
    INCONSISTENT = "inconsistent"
    #: Recorded as applied, and neither on disk nor replaced by what is.
    UNKNOWN = "unknown"
    #: Its source is not what it was when it ran.
    EDITED = "edited"
    #: Not applied, and a newer one of the same app, which does not depend on it, is.
    OUT_OF_ORDER = "out of order"
    #: The models say something that no migration does.
    UNMIGRATED = "unmigrated"

    MISSING_EXTENSION = "missing_extension"

    MISSING_TYPE = "missing_type"
    CHANGED_TYPE = "changed_type"
    UNEXPECTED_TYPE = "unexpected_type"

    MISSING_TABLE = "missing_table"
    UNEXPECTED_TABLE = "unexpected_table"
    #: A view where a table should be, another partition key or bound, another replica identity.
    CHANGED_TABLE = "changed_table"
    UNLOGGED = "unlogged"
    ROW_SECURITY = "row_security"
    STORAGE_PARAMETERS = "storage_parameters"
    COMMENT = "comment"
    OWNER = "owner"
    PRIVILEGES = "privileges"
    #: The same thing under another name, as Django's hashed names are after a rename of a table.
    RENAMED = "renamed"

    MISSING_COLUMN = "missing_column"
    UNEXPECTED_COLUMN = "unexpected_column"
    COLUMN_TYPE = "column_type"
    NULLABILITY = "nullability"
    DEFAULT = "default"
    IDENTITY = "identity"
    GENERATED = "generated"
    COLLATION = "collation"

    MISSING_PRIMARY_KEY = "missing_primary_key"
    CHANGED_PRIMARY_KEY = "changed_primary_key"
    UNEXPECTED_PRIMARY_KEY = "unexpected_primary_key"
    MISSING_UNIQUE = "missing_unique"
    CHANGED_UNIQUE = "changed_unique"
    UNEXPECTED_UNIQUE = "unexpected_unique"
    MISSING_CHECK = "missing_check"
    CHECK_EXPRESSION = "check_expression"
    UNEXPECTED_CHECK = "unexpected_check"
    MISSING_EXCLUSION = "missing_exclusion"
    CHANGED_EXCLUSION = "changed_exclusion"
    UNEXPECTED_EXCLUSION = "unexpected_exclusion"
    MISSING_FOREIGN_KEY = "missing_foreign_key"
    FOREIGN_KEY_COLUMNS = "foreign_key_columns"
    FOREIGN_KEY_TARGET = "foreign_key_target"
    FOREIGN_KEY_ON_DELETE = "foreign_key_on_delete"
    FOREIGN_KEY_ON_UPDATE = "foreign_key_on_update"
    UNEXPECTED_FOREIGN_KEY = "unexpected_foreign_key"
    DEFERRABILITY = "deferrability"
    NOT_VALID = "not_valid"

    MISSING_INDEX = "missing_index"
    UNEXPECTED_INDEX = "unexpected_index"
    INVALID_INDEX = "invalid_index"
    INDEX_COLUMNS = "index_columns"
    INDEX_EXPRESSION = "index_expression"
    INDEX_ORDER = "index_order"
    INDEX_OPERATOR_CLASS = "index_operator_class"
    INDEX_COLLATION = "index_collation"
    INDEX_INCLUDED_COLUMNS = "index_included_columns"
    INDEX_PREDICATE = "index_predicate"
    INDEX_METHOD = "index_method"
    INDEX_UNIQUENESS = "index_uniqueness"

    MISSING_TRIGGER = "missing_trigger"
    CHANGED_TRIGGER = "changed_trigger"
    UNEXPECTED_TRIGGER = "unexpected_trigger"
    #: Disabled, or firing on other occasions (ALWAYS, REPLICA) than it should.
    DISABLED_TRIGGER = "disabled_trigger"
    MISSING_POLICY = "missing_policy"
    CHANGED_POLICY = "changed_policy"
    UNEXPECTED_POLICY = "unexpected_policy"

    MISSING_FUNCTION = "missing_function"
    FUNCTION_BODY = "function_body"
    UNEXPECTED_FUNCTION = "unexpected_function"
    MISSING_VIEW = "missing_view"
    CHANGED_VIEW = "changed_view"
    UNEXPECTED_VIEW = "unexpected_view"
    MISSING_SEQUENCE = "missing_sequence"
    CHANGED_SEQUENCE = "changed_sequence"
    UNEXPECTED_SEQUENCE = "unexpected_sequence"
    SEQUENCE_OWNERSHIP = "sequence_ownership"

    @property
    def is_drift(self) -> bool:
        """Whether it is about an object of the database, and not about a migration."""
        return self not in _ABOUT_MIGRATIONS


_ABOUT_MIGRATIONS = frozenset(
    {
        FindingKind.CONFLICTING,
        FindingKind.INCONSISTENT,
        FindingKind.UNKNOWN,
        FindingKind.EDITED,
        FindingKind.OUT_OF_ORDER,
        FindingKind.UNMIGRATED,
    }
)

# What the summary calls objects of the database that are not as they should be.
_DRIFT_WORDS = {
    Severity.ERROR: "drifted",
    Severity.WARNING: "unexpected",
    Severity.INFO: "cosmetic",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing about the schema that somebody should know."""

    kind: FindingKind
    severity: Severity
    #: What it is about: ``app.migration``, an app's label, a table, ``table.object`` or an object
    #: that belongs to no table. Ignore patterns are matched against it.
    subject: str
    #: What was found and what to do, in full sentences.
    message: str
    #: The table (or view) it is about; None for migrations and objects that belong to no table.
    table: str | None = None
    #: The column, index, constraint, trigger, function ...; None where it is the table itself.
    object: str | None = None
    #: What the migrations make of it, and what the database has; None where there is none.
    expected: str | None = None
    actual: str | None = None
    #: SQL statements that would make it as expected, in order, each to be run by itself outside of
    #: a transaction. For people to read: nothing runs them but ``adoption``, when it was told to.
    repair: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaValidationResult:
    """Which migrations there should be, and which there are.

    The tuples are disjoint sets in the order of the graph: every expected migration is in exactly
    one of applied, pending and failed, and an unknown one is only in ``findings``.
    """

    applied_migrations: tuple[MigrationKey, ...]
    expected_migrations: tuple[MigrationKey, ...]
    pending_migrations: tuple[MigrationKey, ...]
    #: Expected, not applied, and their last recorded attempt failed or was interrupted.
    failed_migrations: tuple[MigrationKey, ...]
    #: The one applied last, an unknown one too, by the order of the records; None if none is.
    last_migration: MigrationKey | None
    findings: tuple[Finding, ...]
    #: How many relations were compared with what the migrations build; None if none were asked for.
    compared: int | None = None
    #: How many findings an ignore pattern has taken away.
    ignored: int = 0
    #: What the comparison could not take into account, in full sentences.
    notes: tuple[str, ...] = ()

    @property
    def is_valid(self) -> bool:
        """Everything expected is applied, and nothing found is an error.

        A comparison of nothing at all finds nothing, and that is no proof.
        """
        return (
            self.compared != 0
            and set(self.applied_migrations) >= set(self.expected_migrations)
            and not any(finding.severity is Severity.ERROR for finding in self.findings)
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
        counts = Counter(
            _DRIFT_WORDS[finding.severity] if finding.kind.is_drift else finding.kind.value
            for finding in self.findings
        )
        words = [*_DRIFT_WORDS.values()]
        order = [kind.value for kind in FindingKind if not kind.is_drift] + words
        return text + "".join(f", {counts[word]} {word}" for word in order if counts[word])
