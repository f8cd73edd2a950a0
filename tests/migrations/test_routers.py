"""A project whose jobs are in a database of their own: the others get none of the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections

from tests.databases import alias_of, new_database

pytestmark = pytest.mark.django_db(databases=[])
OURS = ("jobs", "outbox", "sagas")
#: Under this alias the apps have their tables.
THEIRS = "jobs"


class Apart:
    """Our tables in the database ``jobs`` alone."""

    def allow_migrate(self, db: str, app_label: str, **hints: object) -> bool | None:
        return db == THEIRS if app_label in OURS else None


@pytest.fixture(params=["postgresql", "sqlite"])
def other(
    request: pytest.FixtureRequest, tmp_path: Path, settings: Any, django_db_blocker: Any
) -> Iterator[str]:
    """A database without our apps."""
    settings.DATABASE_ROUTERS = [f"{__name__}.Apart"]
    # What a column has besides is no matter there.
    settings.SILENCED_SYSTEM_CHECKS = ["fields.W163", "models.W046"]
    with django_db_blocker.unblock(), ExitStack() as stack:
        if request.param == "postgresql":
            database = stack.enter_context(new_database())
        else:
            name = str(tmp_path / "other.sqlite3")
            database = {"ENGINE": "django.db.backends.sqlite3", "NAME": name, "USER": ""}
        yield stack.enter_context(alias_of(database, "other"))


def tables(alias: str) -> set[str]:
    return {
        name
        for name in connections[alias].introspection.table_names()
        if name.startswith(("job", "worker", "outbox", "saga", "provider", "audit"))
    }


def test_there_they_leave_nothing_and_the_way_back_has_nothing_to_refuse(other: str) -> None:
    call_command("migrate", database=other, verbosity=0)

    assert tables(other) == set()
    applied = connections[other].introspection.table_names()
    assert "auth_user" in applied

    back: Callable[..., Any] = call_command
    for app in ("sagas", "jobs", "outbox"):
        back("migrate", app, "0001", database=other, verbosity=0)

    assert tables(other) == set()
