"""Two who enqueue under many of the same keys, in another order: they take turns, on every server,
for it is the server that decides in which order it writes and locks."""

from __future__ import annotations

import uuid
from typing import Any

from jobs.services.queue import NewJob, enqueue_many
from tests.jobs.conftest import Jobs
from tests.meeting import in_turns

SPEC = {"test": {"do": "succeed", "n": 0}}


def test_many_with_the_same_keys_in_another_order_wait_for_each_other_and_not_crosswise(
    jobs: Jobs,
) -> None:
    def forwards(keys: list[str]) -> Any:
        return enqueue_many(NewJob(spec=SPEC, idempotency_key=key) for key in keys)

    def backwards(keys: list[str]) -> Any:
        return forwards(keys[::-1])

    def prepare() -> list[str]:
        return [str(uuid.uuid4()) for _ in range(200)]

    for _keys, one, other in in_turns(forwards, backwards, prepare=prepare):
        assert one.enqueued + other.enqueued == 200
        assert one.known + other.known == 200
