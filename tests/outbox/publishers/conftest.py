"""A function may use the database, and what calls it looks after Django's connections."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def connections_may_be_closed(django_db_blocker: Any) -> Iterator[None]:
    """Let Django look at a connection that another test has left; none is opened."""
    with django_db_blocker.unblock():
        yield
