"""The system checks by name: what each says, and that none of them asks a database."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage, Error, Warning, run_checks  # noqa: A004
from django.db import connections

from hodei.schema import checks

SCHEMA = Path(checks.__file__).parent
PAGE = SCHEMA.parents[1] / "docs" / "reference" / "checks.md"


def found(identifier: str) -> list[CheckMessage]:
    functions: list[Callable[..., list[CheckMessage]]] = [
        checks.check_settings,
        checks.check_databases,
        checks.check_baselines,
        checks.check_migrate_command,
    ]
    return [message for check in functions for message in check() if message.id == identifier]


@pytest.fixture
def rival(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An app that has a command ``migrate`` of its own."""
    folder = tmp_path / "rival" / "management" / "commands"
    folder.mkdir(parents=True)
    for package in (folder, folder.parent, folder.parent.parent):
        (package / "__init__.py").write_text("")
    (folder / "migrate.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    return "rival"


class TestE001:
    @pytest.mark.parametrize(
        ("name", "value", "hint"),
        [
            ("HODEI_SCHEMA_EXTEND_MIGRATE", "no", "Make it True or False."),
            (
                "HODEI_SCHEMA_LOCK_TIMEOUT",
                "5s",
                "Make it a number of seconds, more than 0 and at most 3600.",
            ),
            (
                "HODEI_SCHEMA_LOCK_TIMEOUT",
                True,
                "Make it a number of seconds, more than 0 and at most 3600.",
            ),
            (
                "HODEI_SCHEMA_LOCK_TIMEOUT",
                0,
                "Make it a number of seconds, more than 0 and at most 3600.",
            ),
            ("HODEI_SCHEMA_IGNORE", "x*", "Make it a list of patterns, which are strings."),
            ("HODEI_SCHEMA_RELEASE", 12, "Make it a string."),
            ("HODEI_ALLOW_DATA_LOSS", 1, "Make it True or False."),
            ("HODEI_ALLOW_RESET", "1", "Make it True or False."),
            (
                "HODEI_HEALTH_DATABASES",
                "default",
                "Make it a list of at least one name in DATABASES.",
            ),
            ("HODEI_HEALTH_DATABASES", [], "Make it a list of at least one name in DATABASES."),
            ("HODEI_HEALTH_CACHE_SECONDS", -1, "Make it a number of seconds, 0 or more."),
        ],
    )
    def test_a_value_that_cannot_be(
        self, settings: Any, name: str, value: object, hint: str
    ) -> None:
        setattr(settings, name, value)

        assert found("schema.E001") == [Error(f"{name} is {value!r}.", hint=hint, id="schema.E001")]

    def test_values_that_can_be(self, settings: Any) -> None:
        settings.HODEI_SCHEMA_EXTEND_MIGRATE = False
        settings.HODEI_SCHEMA_LOCK_TIMEOUT = 0.5
        settings.HODEI_SCHEMA_RELEASE = "2026.11"
        settings.HODEI_HEALTH_DATABASES = ("default",)
        settings.HODEI_HEALTH_CACHE_SECONDS = 0

        assert checks.check_settings() == []
        assert checks.check_databases() == []


class TestE002:
    def test_a_database_that_is_not_there(self, settings: Any) -> None:
        settings.HODEI_HEALTH_DATABASES = ["default", "replica"]

        assert found("schema.E002") == [
            Error(
                "HODEI_HEALTH_DATABASES names 'replica', which is not in DATABASES.",
                hint=f"Name some of: {', '.join(connections)}.",
                id="schema.E002",
            )
        ]

    def test_a_database_on_another_engine(
        self, settings: Any, point_alias: Callable[..., str]
    ) -> None:
        alias = point_alias({"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"})
        settings.HODEI_HEALTH_DATABASES = ["default", alias]

        assert found("schema.E002") == [
            Error(
                "HODEI_HEALTH_DATABASES names 'scratch', whose engine is "
                "'django.db.backends.sqlite3'.",
                hint="Name databases on PostgreSQL alone: of others nothing can be told.",
                id="schema.E002",
            )
        ]


class TestE003:
    @pytest.mark.parametrize(
        ("name", "hint"),
        [
            ("0001_basline", "Did you mean 0001_baseline?"),
            ("9999", "Name the last one whose tables schema_adopt may find."),
            (["0001_baseline"], "Did you mean 0001_baseline?"),
        ],
    )
    def test_a_baseline_that_is_no_migration(
        self, monkeypatch: pytest.MonkeyPatch, name: object, hint: str
    ) -> None:
        monkeypatch.setattr("jobs.apps.JobsConfig.schema_baseline", name)

        (message,) = found("schema.E003")

        assert message.msg == (
            f"JobsConfig.schema_baseline is {name!r}, which is no migration of jobs."
        )
        assert hint in str(message.hint)

    def test_says_nothing_of_the_projects_own(self) -> None:
        assert found("schema.E003") == []

    def test_nor_where_migrations_are_put_away(self, settings: Any) -> None:
        settings.MIGRATION_MODULES = {"jobs": None, "outbox": None, "sagas": None}

        assert found("schema.E003") == []


class TestW001:
    def test_a_name_that_is_nearly_right(self, settings: Any) -> None:
        settings.HODEI_SCHEMA_LOCK_TIMOUT = 5

        assert found("schema.W001") == [
            Warning(
                "There is no setting HODEI_SCHEMA_LOCK_TIMOUT, so nothing reads it.",
                hint="Did you mean HODEI_SCHEMA_LOCK_TIMEOUT?",
                id="schema.W001",
            )
        ]

    def test_names_of_the_project_are_its_own_business(self, settings: Any) -> None:
        settings.HODEI_EMBEDDED_SOMETHING = 1
        settings.SCHEMA_SOMETHING = 1

        assert found("schema.W001") == []

    def test_every_setting_that_is_read_is_known(self) -> None:
        read = {
            name
            for file in SCHEMA.rglob("*.py")
            for name in re.findall(r'settings, "(HODEI_\w+)"', file.read_text())
        }

        assert "HODEI_HEALTH_DATABASES" in read
        assert read <= checks.SETTINGS.keys()


class TestW002:
    def test_no_database_on_postgresql(
        self, monkeypatch: pytest.MonkeyPatch, point_alias: Callable[..., str]
    ) -> None:
        alias = point_alias({"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"})
        only = {alias: connections.settings[alias]}
        monkeypatch.setattr(connections, "settings", only)

        assert found("schema.W002") == [
            Warning(
                "No database is on PostgreSQL (found: django.db.backends.sqlite3), so the commands "
                "of hodei.schema have nothing to work on, and migrate is Django's own.",
                hint="Set ENGINE to 'django.db.backends.postgresql' in DATABASES.",
                id="schema.W002",
            )
        ]

    def test_one_is_enough(self, point_alias: Callable[..., str]) -> None:
        point_alias({"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"})

        assert found("schema.W002") == []


class TestW003:
    def test_another_migrate_before_ours(self, settings: Any, rival: str) -> None:
        settings.INSTALLED_APPS = [rival, "hodei.schema"]

        assert checks.check_migrate_command() == [
            Warning(
                "The migrate command of rival runs in place of that of hodei.schema: without a "
                "lock, time limits and a history.",
                hint=(
                    "Put 'hodei.schema' before 'rival' in INSTALLED_APPS, or set "
                    "HODEI_SCHEMA_EXTEND_MIGRATE = False if that is meant."
                ),
                id="schema.W003",
            )
        ]

    def test_it_is_meant(self, settings: Any, rival: str) -> None:
        settings.INSTALLED_APPS = [rival, "hodei.schema"]
        settings.HODEI_SCHEMA_EXTEND_MIGRATE = False

        assert checks.check_migrate_command() == []


class TestW004:
    def test_another_migrate_behind_ours(self, settings: Any, rival: str) -> None:
        settings.INSTALLED_APPS = ["hodei.schema", rival]

        assert checks.check_migrate_command() == [
            Warning(
                "The migrate command of hodei.schema runs in place of that of rival.",
                hint=(
                    "Set HODEI_SCHEMA_EXTEND_MIGRATE = False to give way to it, or silence "
                    "schema.W004 if this is meant."
                ),
                id="schema.W004",
            )
        ]


def test_they_run_with_all_the_others_and_find_nothing_here() -> None:
    assert run_checks(tags=[checks.TAG]) == []


def test_they_ask_no_database(scratch: str, settings: Any) -> None:
    settings.HODEI_HEALTH_DATABASES = [scratch]

    assert run_checks(tags=[checks.TAG]) == []

    assert connections[scratch].connection is None


def test_each_is_documented() -> None:
    named = set(re.findall(r'id="(schema\.[EW]\d+)"', Path(checks.__file__).read_text()))

    assert len(named) == 7
    assert named == set(re.findall(r"schema\.[EW]\d{3}", PAGE.read_text()))


@pytest.mark.process
def test_the_command_shows_them(manage: Callable[..., Any]) -> None:
    done = manage("check", "--tag", "schema")

    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout
