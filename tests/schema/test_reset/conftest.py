"""Databases that may be reset."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from tests.databases import alias_of, forget, new_database
from tests.schema.test_reset.kit import Install, execute, migrate


@pytest.fixture
def server(settings: Any) -> dict[str, Any]:
    """What lets an alias find pg_dump: the embedded engine has programs of its own."""
    own = connections["default"].settings_dict
    return {name: own[name] for name in ("ENGINE", "EMBEDDED_DIRECTORY") if name in own}


@pytest.fixture
def allowed(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reset is allowed, waits for no lock long, and has a current folder of its own."""
    settings.HODEI_ALLOW_RESET = True
    settings.HODEI_SCHEMA_LOCK_TIMEOUT = 0.3
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def alias(
    database: dict[str, Any],
    point_alias: Callable[..., str],
    server: dict[str, Any],
    allowed: None,
) -> str:
    """An empty database."""
    return point_alias(database, **server)


@pytest.fixture(scope="package")
def template(django_db_setup: None, django_db_blocker: Any) -> Iterator[str]:
    """The name of a database with the apps depot and hauler, and a row more than they make."""
    from django.test import override_settings

    names = [f"tests.schema.apps.{name}" for name in ("depot", "hauler")]
    with (
        django_db_blocker.unblock(),
        new_database() as found,
        override_settings(
            INSTALLED_APPS=["django.contrib.contenttypes", "hodei.schema", *names],
        ),
    ):
        with alias_of(found, "template") as alias:
            migrate(alias)
            execute(alias, "INSERT INTO depot_shelf (label) VALUES ('mine')")
        yield found["NAME"]


@pytest.fixture
def depot(
    template: str,
    point_alias: Callable[..., str],
    server: dict[str, Any],
    install: Install,
    allowed: None,
) -> Iterator[str]:
    """A copy of the template, with its apps installed."""
    install("depot", "hauler")
    with new_database(template) as found:
        yield point_alias(found, **server)
        forget("scratch")
