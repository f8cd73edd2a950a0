"""Every how-to about jobs and sagas says what happens: its examples are run, and what they print
compared."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from sagas import registry
from sagas.definition import Saga, Step
from sagas.services import actions
from sagas.services.start import start
from tests.docs.howto import RUN, blocks, follow
from tests.jobs.conftest import TABLES
from tests.processes import ROOT
from tests.sagas.conftest import TABLES as SAGAS
from tests.tables import empty

HOW_TO = ROOT / "docs" / "how-to"
ALL = sorted([*HOW_TO.glob("jobs/*.md"), *HOW_TO.glob("sagas/*.md")])
PAGES = [page for page in ALL if RUN in " ".join(page.read_text().split())]


@pytest.fixture
def tables(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """The tables of the test database, empty; sagas of a page are forgotten after it."""
    tables = f"{TABLES}, {SAGAS}"
    known = list(registry.definitions())
    with django_db_blocker.unblock():
        assert connections["default"].settings_dict["NAME"].startswith("test_")
        try:
            empty(tables)
            yield
        finally:
            for definition in registry.definitions():
                if definition not in known:
                    registry.unregister(definition)
            empty(tables)
            connections["default"].close()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_a_page_is_as_written(
    page: Path, tables: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if page.parent.name == "sagas" and page.name == "operators.md":
        two_orders()

    assert follow(page, tmp_path) > 2


def two_orders() -> None:
    """What is under way when the page begins; somebody has paused one."""

    class PlaceOrder(Saga):
        kind = "PLACE_ORDER"
        steps = [Step(f"step {place}", print) for place in range(4)]

    registry.register(PlaceOrder)
    first, _ = (start("PLACE_ORDER", key=f"order {number}") for number in (1, 2))
    actions.pause(first, reason="a test", actor="test")


def test_pages_with_python_are_run() -> None:
    shells = [page for page in ALL if "\n    >>> " in page.read_text()]

    assert len(PAGES) >= 11
    assert {page.name for page in shells} - {page.name for page in PAGES} <= {"logs.md"}


def test_a_wrong_output_is_noticed(tables: None, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Two:\n\n    >>> 1 + 1\n    3\n")

    with pytest.raises(AssertionError, match="Got:"):
        follow(page, tmp_path)


def test_a_wrong_output_of_a_command_is_noticed(tables: None, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("None:\n\n    $ python manage.py jobs_worker --drain\n    7 runs\n")

    with pytest.raises(AssertionError, match="0 runs"):
        follow(page, tmp_path)


def test_a_block_belongs_to_the_paragraph_before_it(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A page\n\nMake `a.py`:\n\n    x = 1\n\nIts settings:\n\n    Y = 2\n")

    made, settings = blocks(page)

    assert (made.file, made.text) == ("a.py", "x = 1\n")
    assert settings.is_settings
