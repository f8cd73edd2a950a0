"""Two who start sagas with many of the same keys or resources, in another order: they take turns,
on every server, for it is the server that decides in which order it writes and locks."""

from __future__ import annotations

import uuid

from sagas.definition import Saga, Step, StepContext
from sagas.exceptions import ResourceLocked
from sagas.services.start import start, start_many
from tests.meeting import in_turns, kinds
from tests.sagas.conftest import Sagas


def done(context: StepContext) -> str:
    return context.step


class Short(Saga):
    kind = "SHORT"
    steps = (Step("one", done, local=True), Step("two", done, local=True))


def test_many_starts_with_the_same_keys_in_another_order_do_not_wait_crosswise(
    sagas: Sagas,
) -> None:
    sagas.start(Short)

    def begin(keys: list[str]) -> list[uuid.UUID]:
        return start_many("SHORT", [{}] * len(keys), keys=keys)

    def prepare() -> list[str]:
        return [str(uuid.uuid4()) for _ in range(60)]

    for _keys, one, other in in_turns(begin, lambda keys: begin(keys[::-1]), prepare=prepare):
        assert not isinstance(one, Exception)
        assert not isinstance(other, Exception)
        assert one == other[::-1]


def test_resources_in_another_order_are_not_waited_for_crosswise(sagas: Sagas) -> None:
    sagas.start(Short)

    def begin(names: list[str]) -> uuid.UUID:
        return start("SHORT", locks=[("order", name) for name in names])

    def prepare() -> list[str]:
        return [str(uuid.uuid4()) for _ in range(20)]

    for _names, one, other in in_turns(begin, lambda names: begin(names[::-1]), prepare=prepare):
        assert kinds(one, other) == [ResourceLocked.__name__, "UUID"]
