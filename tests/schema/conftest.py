"""Databases of their own for these tests, on the server of the project's settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from tests.databases import alias_of, forget, new_database, point

ALIAS = "scratch"
ROOT = Path(__file__).resolve().parents[2]
APPS = "tests.schema.apps"

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Session = Callable[..., list[dict[str, Any]]]


def run_forks(
    *words: str, apps: tuple[str, ...], lines: list[str], database: dict[str, Any]
) -> list[Any]:
    """Run ``tests.schema.forks`` with these apps on such a database, and return what it tells."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.schema.forks", *words],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.schema.settings_alone",
            "SCHEMA_TEST_DATABASES": json.dumps({"default": database}),
            "SCHEMA_TEST_APPS": " ".join(f"{APPS}.{name}" for name in apps),
        },
        input="\n".join(lines),
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def database(django_db_blocker: Any) -> Iterator[dict[str, Any]]:
    """An empty database, in Django's terms."""
    with django_db_blocker.unblock(), new_database() as database:
        yield database


@pytest.fixture
def point_alias(django_db_blocker: Any) -> Iterator[Callable[..., str]]:
    """A function that points the alias ``scratch`` at a database and returns the alias."""

    def pointed(database: dict[str, Any], **changes: Any) -> str:
        point(ALIAS, database, **changes)
        return ALIAS

    with django_db_blocker.unblock():
        try:
            yield pointed
        finally:
            forget(ALIAS)


@pytest.fixture
def scratch(database: dict[str, Any], point_alias: Callable[..., str]) -> str:
    """The alias of an empty database."""
    return point_alias(database)


@pytest.fixture
def install(settings: Any) -> Callable[..., None]:
    """A function that makes these test apps the only ones installed beside the necessary."""

    def only(*names: str) -> None:
        settings.INSTALLED_APPS = apps_of(*names)

    return only


def apps_of(*names: str) -> list[str]:
    """These test apps and what is necessary, for INSTALLED_APPS."""
    return [
        "django.contrib.contenttypes",
        "hodei.schema",
        *(f"{APPS}.{name}" for name in names),
    ]


@pytest.fixture(scope="session")
def templates(django_db_setup: None, django_db_blocker: Any) -> Iterator[Callable[..., str]]:
    """A function that gives the name of a database in which these test apps are applied."""
    made: dict[tuple[str, ...], str] = {}
    with django_db_blocker.unblock(), ExitStack() as stack:

        def template(*names: str) -> str:
            if names not in made:
                database = stack.enter_context(new_database())
                with alias_of(database, "template") as alias:
                    call_command("migrate", database=alias, verbosity=0)
                made[names] = database["NAME"]
            return made[names]

        yield template


@pytest.fixture
def applied(
    install: Callable[..., None],
    templates: Callable[..., str],
    point_alias: Callable[..., str],
    django_db_blocker: Any,
) -> Iterator[Callable[..., str]]:
    """A function that installs these test apps alone, and gives the alias of a database of this
    test in which they are applied."""
    with django_db_blocker.unblock(), ExitStack() as stack:

        def alias(*names: str) -> str:
            install(*names)
            return point_alias(stack.enter_context(new_database(templates(*names))))

        yield alias
        forget(ALIAS)


@pytest.fixture
def manage(database: dict[str, Any]) -> Run:
    """A function that runs a command in a process, in a project that knows only hodei.schema."""

    def run(
        *words: str, apps: tuple[str, ...] = (), aliases: dict[str, Any] | None = None, **env: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "django", *words],
            cwd=ROOT,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "tests.schema.settings_alone",
                "PYTHONPATH": str(ROOT),
                "SCHEMA_TEST_DATABASES": json.dumps(aliases or {"default": database}),
                "SCHEMA_TEST_APPS": " ".join(f"{APPS}.{name}" for name in apps),
                **env,
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def session(database: dict[str, Any]) -> Session:
    """A function that runs commands, one after another, in one process of a project."""

    def run(
        *commands: str,
        settings: str = "settings_alone",
        aliases: dict[str, Any] | None = None,
        apps: str = "",
        routers: str = "",
        **env: str,
    ) -> list[dict[str, Any]]:
        done = subprocess.run(
            [sys.executable, "-m", "tests.schema.session"],
            cwd=ROOT,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": f"tests.schema.{settings}",
                "SCHEMA_TEST_DATABASES": json.dumps(aliases or {"default": database}),
                "SCHEMA_TEST_APPS": apps,
                "SCHEMA_TEST_ROUTERS": routers,
                **env,
            },
            input="\n".join(commands),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run
