"""Tasks, and receivers that remember."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

HERE = "tests.jobs.example_tasks"


@contextmanager
def listening(signal: Any, receiver: Any, sender: Any = None) -> Iterator[None]:
    signal.connect(receiver, sender=sender, weak=False)
    try:
        yield
    finally:
        assert signal.disconnect(receiver, sender=sender)


class Heard:
    """A receiver that remembers."""

    def __init__(self, raises: BaseException | None = None) -> None:
        self.raises = raises
        self.calls: list[tuple[Any, Any]] = []

    def __call__(self, sender: Any, task_result: Any, **_: Any) -> None:
        self.calls.append((sender, task_result))
        if self.raises is not None:
            raise self.raises
