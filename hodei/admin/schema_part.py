"""What is told of the schema: whether each database has what this code needs."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.db import DEFAULT_DB_ALIAS, Error, connections

from hodei.admin.parts import Case, Figure, Found, Kind, Panel, Part, address_of, register
from hodei.redaction import redact_text
from hodei.schema.errors import SchemaError
from hodei.schema.readiness import KnownMigrations

_MODEL = "hodei_schema.MigrationRun"
#: The files, which are read once in a process.
_known = KnownMigrations()


def _forget(*, setting: str, **_: Any) -> None:
    """Tests change settings: what other apps expect is in other files."""
    global _known  # noqa: PLW0603
    if setting == "INSTALLED_APPS":
        _known = KnownMigrations()


setting_changed.connect(_forget, dispatch_uid="hodei.admin.schema_part")


def verdicts() -> list[tuple[str, bool, str]]:
    """Of each database that is looked after: whether its schema is valid, and what is to be said.

    One query each. What a page of the schema tells beside takes longer, and has that page.
    """
    aliases = getattr(settings, "HODEI_HEALTH_DATABASES", None) or [DEFAULT_DB_ALIAS]
    return [(alias, *_verdict(alias)) for alias in aliases]


def _verdict(alias: str) -> tuple[bool, str]:
    if alias not in connections.settings:
        return False, "HODEI_HEALTH_DATABASES names it, and DATABASES does not."
    try:
        found = _known.check(connections[alias])
    except (SchemaError, Error) as error:
        return False, redact_text(" ".join(str(error).split()))
    except Exception as error:  # noqa: BLE001  (a migration's own module may raise anything)
        return False, f"Its migrations raise an error of their own: {type(error).__name__}."
    return found.is_valid, found.summary()


def panel() -> Panel:
    """A verdict for each database."""
    return Panel(
        title="Schema",
        figures=[
            Figure(
                label=f"Database {alias}",
                value="Valid" if is_valid else "INVALID",
                model=_MODEL,
                view="status",
                query={"database": alias},
                tone="good" if is_valid else "bad",
                remark=said,
            )
            for alias, is_valid, said in verdicts()
        ],
    )


def invalid() -> Found:
    """The databases whose schema is not what this code needs."""
    cases = [
        Case(name=alias, address=address_of(_MODEL, "status", {"database": alias}), why=said)
        for alias, is_valid, said in verdicts()
        if not is_valid
    ]
    return Found(cases, len(cases))


register(
    Part(
        app="hodei.schema",
        title="Schema",
        place=0,
        models=(_MODEL,),
        panel=panel,
        kinds=(
            Kind(
                title="Schema",
                advice="A database is not as this code needs it: see what is pending or failed.",
                model=_MODEL,
                view="status",
                read=invalid,
            ),
        ),
    )
)
