from __future__ import annotations

from collections.abc import Iterator

import pytest

from sagas import registry
from tests.sagas.test_actions.kit import Order, called, world


@pytest.fixture(autouse=True)
def order() -> Iterator[None]:
    world.clear()
    called.clear()
    registry.register(Order)
    yield
    registry.unregister(Order)
