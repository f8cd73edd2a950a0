"""Do the models say something that no migration does? As ``makemigrations --check`` sees it."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from pathlib import Path

from django.apps import apps
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.questioner import MigrationQuestioner
from django.db.migrations.state import ProjectState

from hodei.schema.results import Finding, FindingKind, Severity


def unmigrated(loader: MigrationLoader) -> Iterator[Finding]:
    """Yield one finding for each app whose models are ahead of its migrations.

    An error for the project's own apps, and information for installed packages: there nobody here
    can write the migration, and the usual cause is another DEFAULT_AUTO_FIELD. Nothing where
    leaves conflict (then there is no one state to compare with), nor of an app that has migrations
    and no models at all: those are written by hand.
    """
    if loader.detect_conflicts():
        return
    migrated = loader.project_state()
    for label, name in list(migrated.models):
        if apps.get_app_config(label).models_module is None:
            migrated.remove_model(label, name)
    detector = MigrationAutodetector(migrated, ProjectState.from_apps(apps), MigrationQuestioner())
    changes = detector.changes(graph=loader.graph)
    for label, migrations in sorted(changes.items()):
        if label not in loader.migrated_apps:
            continue
        operations = [one for migration in migrations for one in migration.operations]
        told = "; ".join(operation.describe() for operation in operations[:3])
        more = f"; and {len(operations) - 3} more" if len(operations) > 3 else ""
        yield Finding(
            kind=FindingKind.UNMIGRATED,
            severity=Severity.INFO if _is_installed_package(label) else Severity.ERROR,
            subject=label,
            message=(
                f"The models of {label} say what none of its migrations does: {told}{more}. "
                f"Write the migration with makemigrations {label}."
            ),
        )


def _is_installed_package(label: str) -> bool:
    home = Path(apps.get_app_config(label).path).resolve()
    paths = sysconfig.get_paths()
    return any(
        home.is_relative_to(Path(paths[name]).resolve())
        for name in ("purelib", "platlib", "stdlib")
    )
