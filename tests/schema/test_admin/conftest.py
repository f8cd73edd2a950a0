"""A project with an admin of its own, and a database where a migration has failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import DataError, connections, transaction
from django.test import Client, override_settings

# Before a test takes the apps away that the project's URLs need when they are imported.
import hodei.urls  # noqa: F401
from tests.databases import alias_of, new_database
from tests.schema.test_admin.reading import APPS, migrate

Install = Callable[..., None]


def installed(*names: str) -> list[str]:
    """These test apps, beside what the admin needs."""
    return [
        *(f"django.contrib.{name}" for name in ("admin", "auth", "contenttypes", "sessions")),
        *("django.contrib.messages", "django.contrib.staticfiles", "hodei.schema"),
        *(f"{APPS}.{name}" for name in names),
    ]


@pytest.fixture(autouse=True)
def project(settings: Any) -> None:
    """A project with Django's admin and ``hodei.schema``, and nothing else of Hodei."""
    settings.ROOT_URLCONF = "tests.schema.test_admin.backoffice"
    settings.INSTALLED_APPS = installed()
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.SECURE_SSL_REDIRECT = False
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = False


@pytest.fixture
def install(settings: Any) -> Install:
    """A function that installs these test apps beside what the admin needs."""

    def only(*names: str) -> None:
        settings.INSTALLED_APPS = installed(*names)

    return only


@pytest.fixture
def page(project: None, admin_client: Client) -> Client:
    return admin_client


@pytest.fixture(scope="package")
def with_a_failure(django_db_setup: None, django_db_blocker: Any) -> Iterator[dict[str, Any]]:
    """A database where the second migration of ``ledger`` has failed, and nothing else was run.

    For all tests of this folder: whoever changes it does so in a transaction, or in a copy.
    """
    with django_db_blocker.unblock(), new_database() as database:
        with (
            override_settings(INSTALLED_APPS=installed("ledger")),
            pytest.MonkeyPatch.context() as patch,
            alias_of(database) as alias,
        ):
            patch.setenv("LEDGER_AMOUNT", "nonsense")
            with pytest.raises(DataError, match="nonsense"):
                migrate(alias, "ledger")
        yield database


@pytest.fixture
def failed(
    with_a_failure: dict[str, Any], point_alias: Callable[..., str], install: Install
) -> Iterator[str]:
    """Its alias, in a transaction that is rolled back."""
    install("ledger")
    alias = point_alias(with_a_failure)
    with transaction.atomic(using=alias):
        yield alias
        transaction.set_rollback(True, using=alias)


@pytest.fixture
def failed_copy(
    with_a_failure: dict[str, Any], point_alias: Callable[..., str], install: Install
) -> Iterator[str]:
    """The alias of a copy of it: for what others have to see, or what ends a transaction."""
    install("ledger")
    with new_database(template=with_a_failure["NAME"]) as database:
        yield point_alias(database)
        connections["scratch"].close()


@pytest.fixture
def staff(project: None, client: Client) -> Callable[..., Client]:
    """A function that logs somebody in who has these permissions."""

    def log_in(*permissions: str, is_staff: bool = True) -> Client:
        user = User.objects.create_user("somebody", is_staff=is_staff)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client.force_login(user)
        return client

    return log_in
