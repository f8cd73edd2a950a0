"""A schema you can trust, on top of Django's migrations: for any Django project on PostgreSQL.

    from hodei.schema import MigrationService, run_migrations

    run_migrations()                        # at start-up: connect, migrate, validate
    MigrationService("replica").validate()  # what is applied, pending, unknown

Where things are:

- ``connection``  is the database there, and if not, which of a dozen reasons it is
- ``status``      every migration and its state, by ``django_migrations`` and ``history``
- ``run``         runs of migrations: one at a time, within limits and on record
- ``plan``        what ``migrate`` would do, and what that may cost
- ``rollback``    the way back: what it would take along, and the way itself
- ``catalog``, ``replay``, ``drift``, ``validation``  what there is, against what there should be
- ``reset``       the emergency: the schema of some apps dropped and built again
- ``readiness``, ``health``, ``waiting``  the same question, asked often and cheaply
- ``adoption``    tables that others have made, taken over
- ``browsing``    the history page by page; ``admin`` shows all of this in Django's admin
- ``service``     the use cases; ``results`` are the values they return
- ``checksums``   a migration's fingerprint; ``sources`` finds its text
- ``tables``, ``suggestions``, ``management.reports``  what the commands print, and how they end

It knows migrations and no app, so it works while an app is broken. Nothing is imported here until
it is asked for: Django imports this package before the app registry is ready.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hodei.schema.connection import ConnectionFailed, EngineNotSupported
    from hodei.schema.errors import SchemaError
    from hodei.schema.results import Finding, MigrationResult, SchemaValidationResult
    from hodei.schema.service import MigrationFailed, MigrationService, run_migrations
    from hodei.schema.status import MigrationGraphBroken

__all__ = [
    "ConnectionFailed",
    "EngineNotSupported",
    "Finding",
    "MigrationFailed",
    "MigrationGraphBroken",
    "MigrationResult",
    "MigrationService",
    "SchemaError",
    "SchemaValidationResult",
    "run_migrations",
]

_HOMES = {
    "ConnectionFailed": "connection",
    "EngineNotSupported": "connection",
    "Finding": "results",
    "MigrationFailed": "service",
    "MigrationGraphBroken": "status",
    "MigrationResult": "results",
    "MigrationService": "service",
    "SchemaError": "errors",
    "SchemaValidationResult": "results",
    "run_migrations": "service",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
