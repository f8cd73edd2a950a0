"""Databases at the baseline and at head, each test with one of its own, copied from a template."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from django.db import transaction

from tests.databases import BASELINE, Migrated, alias_of, new_database


@pytest.fixture(scope="session")
def baseline_template(django_db_setup: None, django_db_blocker: Any) -> Iterator[str]:
    with django_db_blocker.unblock(), new_database() as database:
        with alias_of(database) as alias:
            for app, migration in BASELINE.items():
                Migrated(alias).migrate(app, migration)
        yield database["NAME"]


@pytest.fixture(scope="session")
def head_template(django_db_setup: dict[str, Any]) -> str:
    """What has been migrated for all tests, with Django's own apps."""
    return str(django_db_setup["NAME"])


@pytest.fixture(scope="session")
def shared_head(head_template: str, django_db_blocker: Any) -> Iterator[Migrated]:
    with (
        django_db_blocker.unblock(),
        new_database(head_template) as database,
        alias_of(database, "shared_head") as alias,
    ):
        yield Migrated(alias)


@pytest.fixture
def rolled_back(shared_head: Migrated, django_db_blocker: Any) -> Iterator[Migrated]:
    """One database at head for all tests that only write rows: each in a transaction undone."""
    with django_db_blocker.unblock(), transaction.atomic(using=shared_head.alias):
        yield shared_head
        transaction.set_rollback(True, using=shared_head.alias)


@pytest.fixture(scope="class")
def baseline_of_class(baseline_template: str, django_db_blocker: Any) -> Iterator[Migrated]:
    """A database at the baseline that the tests of one class share."""
    with (
        django_db_blocker.unblock(),
        new_database(baseline_template) as database,
        alias_of(database, "of_class") as alias,
    ):
        yield Migrated(alias)


@pytest.fixture
def copy_of(django_db_blocker: Any) -> Iterator[Any]:
    """A function that gives a database copied from a template."""
    with django_db_blocker.unblock(), ExitStack() as stack:

        def copy(template: str) -> Migrated:
            database = stack.enter_context(new_database(template))
            return Migrated(stack.enter_context(alias_of(database)))

        yield copy


@pytest.fixture
def empty(copy_of: Any) -> Migrated:
    return copy_of("template0")


@pytest.fixture
def baseline(copy_of: Any, baseline_template: str) -> Migrated:
    return copy_of(baseline_template)


@pytest.fixture
def head(copy_of: Any, head_template: str) -> Migrated:
    return copy_of(head_template)
