"""System checks: settings of ours that cannot work, baselines, and whose ``migrate`` is run.

They look at settings and installed apps, and never at a database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004  (Django's name)
from django.core.management import find_commands
from django.db import connections
from django.db.migrations.loader import MigrationLoader

from hodei.schema.suggestions import near_matches

TAG = "schema"
OURS = "hodei.schema"
#: Names that begin so are ours, so another one is a mistake.
PREFIXES = ("HODEI_SCHEMA_", "HODEI_HEALTH_", "HODEI_ALLOW_")


@dataclass(frozen=True, slots=True)
class Rule:
    """What a setting may be: in words, and as a test."""

    words: str
    holds: Callable[[Any], bool]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TRUTH = Rule("True or False", lambda value: isinstance(value, bool))

#: Every setting that hodei.schema reads.
SETTINGS: Mapping[str, Rule] = {
    "HODEI_SCHEMA_EXTEND_MIGRATE": _TRUTH,
    "HODEI_SCHEMA_LOCK_TIMEOUT": Rule(
        "a number of seconds, more than 0 and at most 3600",
        lambda value: _is_number(value) and 0 < value <= 3600,
    ),
    "HODEI_SCHEMA_IGNORE": Rule(
        "a list of patterns, which are strings",
        lambda value: (
            isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)
        ),
    ),
    "HODEI_SCHEMA_RELEASE": Rule("a string", lambda value: isinstance(value, str)),
    "HODEI_ALLOW_DATA_LOSS": _TRUTH,
    "HODEI_ALLOW_RESET": _TRUTH,
    "HODEI_HEALTH_DATABASES": Rule(
        "a list of at least one name in DATABASES",
        lambda value: (
            isinstance(value, list | tuple)
            and bool(value)
            and all(isinstance(alias, str) for alias in value)
        ),
    ),
    "HODEI_HEALTH_CACHE_SECONDS": Rule(
        "a number of seconds, 0 or more", lambda value: _is_number(value) and value >= 0
    ),
}


@register(TAG)
def check_settings(**_options: object) -> list[CheckMessage]:
    """schema.E001 for a value that cannot be, schema.W001 for a name that nothing reads."""
    return [*_wrong_values(), *_unknown_names()]


@register(TAG)
def check_databases(**_options: object) -> list[CheckMessage]:
    """schema.E002 for a database that no probe can ask, schema.W002 where none is PostgreSQL."""
    return [*_probed_databases(), *_no_postgresql()]


@register(TAG)
def check_baselines(**_options: object) -> list[CheckMessage]:
    """schema.E003 for a ``schema_baseline`` that is no migration of its app."""
    return [
        Error(
            f"{type(config).__name__}.schema_baseline is {name!r}, which is no migration of "
            f"{config.label}.",
            hint=_near_migration(config, name),
            id="schema.E003",
        )
        for config in apps.get_app_configs()
        if (name := getattr(config, "schema_baseline", None)) is not None
        # Where tests have put an app's migrations away, none is missing.
        and MigrationLoader.migrations_module(config.label)[0] is not None
        and str(name) not in _migrations_of(config)
    ]


@register(TAG)
def check_migrate_command(**_options: object) -> list[CheckMessage]:
    """schema.W003 where another ``migrate`` hides ours, schema.W004 where ours hides another."""
    owners = _owners_of_migrate()
    if OURS not in owners or getattr(settings, "HODEI_SCHEMA_EXTEND_MIGRATE", True) is False:
        return []
    place = owners.index(OURS)
    hiding, hidden = owners[:place], owners[place + 1 :]
    found: list[CheckMessage] = []
    if hiding:
        found.append(
            Warning(
                f"The migrate command of {hiding[0]} runs in place of that of {OURS}: without a "
                "lock, time limits and a history.",
                hint=(
                    f"Put {OURS!r} before {hiding[0]!r} in INSTALLED_APPS, or set "
                    "HODEI_SCHEMA_EXTEND_MIGRATE = False if that is meant."
                ),
                id="schema.W003",
            )
        )
    elif hidden:
        found.append(
            Warning(
                f"The migrate command of {OURS} runs in place of that of {hidden[0]}.",
                hint=(
                    "Set HODEI_SCHEMA_EXTEND_MIGRATE = False to give way to it, or silence "
                    "schema.W004 if this is meant."
                ),
                id="schema.W004",
            )
        )
    return found


def _wrong_values() -> Iterator[CheckMessage]:
    for name, rule in SETTINGS.items():
        if hasattr(settings, name) and not rule.holds(getattr(settings, name)):
            yield Error(
                f"{name} is {getattr(settings, name)!r}.",
                hint=f"Make it {rule.words}.",
                id="schema.E001",
            )


def _unknown_names() -> Iterator[CheckMessage]:
    for name in sorted(dir(settings)):
        if name.startswith(PREFIXES) and name not in SETTINGS:
            near = near_matches(name, list(SETTINGS), limit=1)
            yield Warning(
                f"There is no setting {name}, so nothing reads it.",
                hint=(
                    f"Did you mean {near[0]}?"
                    if near
                    else f"The settings are: {', '.join(sorted(SETTINGS))}."
                ),
                id="schema.W001",
            )


def _probed_databases() -> Iterator[CheckMessage]:
    named = getattr(settings, "HODEI_HEALTH_DATABASES", ())
    if not isinstance(named, list | tuple):
        return  # schema.E001 says so
    for alias in named:
        if alias not in connections.settings:
            yield Error(
                f"HODEI_HEALTH_DATABASES names {alias!r}, which is not in DATABASES.",
                hint=f"Name some of: {', '.join(connections.settings)}.",
                id="schema.E002",
            )
        elif not _is_postgresql(alias):
            yield Error(
                f"HODEI_HEALTH_DATABASES names {alias!r}, whose engine is "
                f"{connections.settings[alias]['ENGINE']!r}.",
                hint="Name databases on PostgreSQL alone: of others nothing can be told.",
                id="schema.E002",
            )


def _no_postgresql() -> Iterator[CheckMessage]:
    if not any(_is_postgresql(alias) for alias in connections.settings):
        engines = sorted({found["ENGINE"] for found in connections.settings.values()})
        yield Warning(
            f"No database is on PostgreSQL (found: {', '.join(engines)}), so the commands of "
            f"{OURS} have nothing to work on, and migrate is Django's own.",
            hint="Set ENGINE to 'django.db.backends.postgresql' in DATABASES.",
            id="schema.W002",
        )


def _migrations_of(config: AppConfig) -> set[str]:
    """The names on disk, as the loader finds them, with nothing imported but the package."""
    module, _explicit = MigrationLoader.migrations_module(config.label)
    try:
        package = import_module(str(module))
    except ImportError:
        return set()
    paths: list[str] = list(getattr(package, "__path__", ()))
    return {name for _finder, name, is_package in iter_modules(paths) if not is_package}


def _near_migration(config: AppConfig, name: object) -> str:
    known = _migrations_of(config)
    near = near_matches(str(name), sorted(known), limit=1)
    if near:
        return f"Did you mean {near[0]}?"
    return (
        f"The migrations of {config.label} are: {', '.join(sorted(known)) or 'none'}. Name the "
        "last one whose tables schema_adopt may find."
    )


def _is_postgresql(alias: str) -> bool:
    """By the backend's class: the connection is made ready, and not opened."""
    return connections[alias].vendor == "postgresql"


def _owners_of_migrate() -> list[str]:
    """The installed apps that have a command ``migrate``; the first is the one that runs."""
    return [
        config.name
        for config in apps.get_app_configs()
        if "migrate" in find_commands(str(Path(config.path) / "management"))
    ]
