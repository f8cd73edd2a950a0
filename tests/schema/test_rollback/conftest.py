from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.schema.vineyard import Applied, session_on


@pytest.fixture
def vineyard(applied: Applied) -> str:
    return applied("vineyard", "cellar")


@pytest.fixture
def other(vineyard: str) -> Iterator[psycopg.Connection[Any]]:
    with session_on(vineyard) as session:
        yield session
