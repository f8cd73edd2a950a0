"""Which apps a reset is about."""

from __future__ import annotations

from collections.abc import Sequence

from django.apps import apps
from django.db.migrations.loader import MigrationLoader

from hodei.schema.errors import SchemaError
from hodei.schema.suggestions import not_found


class AppsNotChosen(SchemaError):  # noqa: N818  (it reads as the fact it states)
    """There is no such app, none that could be built again, or none was meant."""

    exit_code = 2


def choose(labels: Sequence[str], loader: MigrationLoader) -> tuple[str, ...]:
    """Return the labels in order, each once; of none given, those of the apps whose AppConfig says
    ``schema_owned = True``. Raises AppsNotChosen."""
    chosen = sorted(set(labels)) or sorted(
        config.label
        for config in apps.get_app_configs()
        if getattr(config, "schema_owned", False) is True
    )
    if not chosen:
        raise AppsNotChosen(
            "No installed app has schema_owned = True in its AppConfig, so the apps must be named."
        )
    for label in chosen:
        if label not in apps.app_configs:
            raise AppsNotChosen(not_found("app", label, list(apps.app_configs)))
        if label not in loader.migrated_apps:
            raise AppsNotChosen(
                f"App {label!r} has no migrations, so nothing could build it again."
            )
    return tuple(chosen)
