"""The test database is there for every test that asks for ``django_db_setup``.

pytest-django makes only the databases that marked tests of the session name. A fixture that empties
tables would then find those of the project's own database, when its file is run alone.
"""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.test.utils import setup_databases, teardown_databases

from tests import meeting
from tests.databases import new_database

# What these assert tells what differed, as in tests.
pytest.register_assert_rewrite(
    "tests.commands",
    "tests.jobs.test_backend.kit",
    "tests.jobs.test_logs.kit",
    "tests.outbox.test_commands.kit",
    "tests.outbox.test_relay.kit",
    "tests.schema.test_adopt.kit",
    "tests.schema.test_reset.kit",
    "tests.working",
)

HERE = Path(__file__).parent
#: The files, and folders of files, that take longest, as measured, come first: else one process
#: works on such a file at the end while the others have nothing left to do.
LONGEST = (
    "schema/test_reset",
    "docs/test_tutorials.py",
    "schema/test_validate.py",
    "migrations/test_adoption.py",
    "schema/test_whole.py",
    "acceptance/test_run.py",
    "migrations/test_way_back.py",
    "schema/test_adopt",
    "hodei/test_cli.py",
    "hodei/test_embedded/test_processes.py",
    "migrations/test_reset.py",
    "schema/test_together.py",
    "schema/test_rollback",
    "schema/test_migrate",
    "faults/test_relays.py",
    "schema/test_wait.py",
    "faults/test_worker_database.py",
    "admin/test_scale.py",
    "jobs/test_python_executor",
    "jobs/test_command",
    "browser/test_admin.py",
    "browser/test_schema.py",
    "schema/test_drift_mutations.py",
    "sagas/test_runner",
    "schema/test_schema_status.py",
    "faults/test_commands.py",
    "migrations/test_repairs.py",
    "outbox/test_outbox_relay.py",
)


def pytest_configure(config: pytest.Config) -> None:
    if "not slow" not in config.option.markexpr:
        meeting.rounds = meeting.MANY_ROUNDS


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {HERE / name: number for number, name in enumerate(LONGEST)}
    last = len(rank)
    items.sort(key=lambda item: rank.get(item.path, rank.get(item.path.parent, last)))


def pytest_collection_finish() -> None:
    """What there is now lives as long as the process. Left out of the garbage collection, it is
    not looked at again each time that the models of migrations, which are garbage soon, fill it."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Of a test that is marked ``no_cover`` no process is measured: pytest-cov pauses in its own
    alone. That is for tests that take long and run what others have measured."""
    if item.get_closest_marker("no_cover") is None:
        return (yield)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        return (yield)


@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment: None,
    django_db_blocker: Any,
    django_db_keepdb: bool,
    django_db_createdb: bool,
    django_db_modify_db_settings: None,
) -> Iterator[dict[str, Any]]:
    """Yields a copy that nobody has written to, nor is to: for tests that want one of their own."""
    untouched = ExitStack()
    with django_db_blocker.unblock():
        made = setup_databases(
            verbosity=0,
            interactive=False,
            aliases={"default"},
            serialized_aliases=set(),
            keepdb=django_db_keepdb and not django_db_createdb,
        )
        connections["default"].close()
        name = connections["default"].settings_dict["NAME"]
        database = untouched.enter_context(new_database(template=name))
    yield database
    with django_db_blocker.unblock():
        untouched.close()
        if not django_db_keepdb:
            teardown_databases(made, verbosity=0)
