"""Pure: the status of all migrations, put in the order in which one wants to read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from hodei.schema.admin.asked import StatusAsked
from hodei.schema.results import Finding, SchemaValidationResult
from hodei.schema.status import (
    APPLIED_STATES,
    PENDING_STATES,
    MigrationState,
    MigrationStatus,
    SchemaStatus,
)

#: What somebody should look at, the worst first.
_NOTABLE = (
    MigrationState.FAILED,
    MigrationState.PENDING,
    MigrationState.OUT_OF_ORDER,
    MigrationState.EDITED,
    MigrationState.UNKNOWN,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AppStatus:
    """The migrations of one app."""

    label: str
    migrations: tuple[MigrationStatus, ...]
    applied: int
    expected: int
    last_applied_at: datetime | None
    #: How many there are of each state that somebody should look at, the worst first.
    notable: Mapping[MigrationState, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusPage:
    """What the page shows; the verdict is of all, or of the chosen app."""

    validation: SchemaValidationResult
    failed: tuple[MigrationStatus, ...]
    findings: tuple[Finding, ...]
    #: What ``migrate`` would run, apps by name; none where the list below has nothing else.
    pending: tuple[MigrationStatus, ...]
    apps: tuple[AppStatus, ...]
    labels: tuple[str, ...]


def status_page(status: SchemaStatus, asked: StatusAsked) -> StatusPage:
    """Put it in order: what is wrong, what is pending, and then everything, folded by app."""
    chosen = [asked.app] if asked.app else []
    validation = status.validation(chosen)
    shown = [one for one in status.migrations if not chosen or one.app in chosen]
    by_app: dict[str, list[MigrationStatus]] = {}
    for one in shown:
        by_app.setdefault(one.app, []).append(one)
    apps = [_app(label, found, asked) for label, found in by_app.items()]
    return StatusPage(
        validation=validation,
        failed=tuple(one for one in shown if one.state is MigrationState.FAILED),
        findings=validation.findings,
        pending=tuple(one for one in shown if one.state in PENDING_STATES and not asked.pending),
        apps=tuple(app for app in apps if app.migrations),
        labels=tuple(sorted({one.app for one in status.migrations})),
    )


def _app(label: str, found: Sequence[MigrationStatus], asked: StatusAsked) -> AppStatus:
    states = Counter(one.state for one in found)
    return AppStatus(
        label=label,
        migrations=tuple(one for one in found if not asked.pending or one.state in PENDING_STATES),
        applied=sum(states[state] for state in APPLIED_STATES),
        expected=sum(states[state] for state in APPLIED_STATES | PENDING_STATES),
        last_applied_at=max((one.applied_at for one in found if one.applied_at), default=None),
        notable={state: states[state] for state in _NOTABLE if states[state]},
    )
