"""Keys side by side, each key one after the other: with a destination that the test scripts."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Awaitable, Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbox.events import Event
from outbox.outcomes import DELIVERED, HELD, Kind, Outcome, down, permanent, rejected
from outbox.publishers import chains
from outbox.publishers.concurrent import ConcurrentPublisher, Unreachable
from tests.outbox.publishers.events import make_event, make_events

Script = Callable[[Event, "Wire"], Awaitable[Outcome]]
LOST = down("connection_lost", "gone")
ENDS = (DELIVERED, rejected("r", "not now"), permanent("p", "never"), down("d", "nobody"))


class Wire:
    """A connection that does as the script says, and writes down what happens."""

    def __init__(self, script: Script) -> None:
        self.lost: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.sent: list[Event] = []
        self.on_their_way: list[Event] = []
        self.most_at_once = 0
        self.is_closed = False
        self._script = script

    async def send(self, event: Event) -> Outcome:
        self.sent.append(event)
        assert event.key not in {other.key for other in self.on_their_way}
        self.on_their_way.append(event)
        self.most_at_once = max(self.most_at_once, len(self.on_their_way))
        try:
            return await self._script(event, self)
        finally:
            self.on_their_way.remove(event)

    async def close(self) -> None:
        self.is_closed = True


class ScriptedPublisher(ConcurrentPublisher):
    def __init__(self, script: Script, *, in_flight: int = 4, timeout: float = 20) -> None:
        super().__init__(in_flight=in_flight, timeout=timeout)
        self.wires: list[Wire] = []
        self.script = script

    async def connect(self) -> Wire:
        self.wires.append(Wire(self.script))
        return self.wires[-1]


Make = Callable[..., ScriptedPublisher]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[ScriptedPublisher] = []

    def publisher(script: Script, **options: float) -> ScriptedPublisher:
        made.append(ScriptedPublisher(script, **options))  # type: ignore[arg-type]
        return made[-1]

    yield publisher
    for one in made:
        one.close()


async def deliver(_event: Event, _wire: Wire) -> Outcome:
    await asyncio.sleep(0)
    return DELIVERED


class TestKeys:
    def test_as_many_are_on_their_way_as_is_allowed(self, make: Make) -> None:
        publisher = make(deliver, in_flight=7)

        assert publisher.send_batch(make_events(keys=50, each=3)) == [DELIVERED] * 150

        (wire,) = publisher.wires
        assert wire.most_at_once == 7

    def test_no_key_has_two(self, make: Make) -> None:
        publisher = make(deliver, in_flight=100)
        events = make_events(keys=1, each=20)

        assert publisher.send_batch(events) == [DELIVERED] * 20

        (wire,) = publisher.wires
        assert wire.sent == events
        assert wire.most_at_once == 1

    @given(
        ends=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(ENDS)), max_size=30),
        in_flight=st.integers(1, 6),
    )
    def test_whatever_happens(self, ends: list[tuple[int, Outcome]], in_flight: int) -> None:
        keys = [uuid.UUID(int=number) for number in range(4)]
        events = [make_event(keys[key]) for key, _ in ends]
        wanted = {event.id: end for event, (_, end) in zip(events, ends, strict=True)}

        async def script(event: Event, _wire: Wire) -> Outcome:
            await asyncio.sleep(0)
            return wanted[event.id]

        publisher = ScriptedPublisher(script, in_flight=in_flight)
        try:
            outcomes = publisher.send_batch(events)
        finally:
            publisher.close()

        assert len(outcomes) == len(events)
        for chain in chains(events):
            told = [outcomes[place] for place in chain]
            good = next((at for at, one in enumerate(told) if one != DELIVERED), len(told))
            assert set(told[good + 1 :]) <= {HELD}
            sent = [one for one in told if one != HELD]
            assert sent == [wanted[events[place].id] for place in chain[: len(sent)]]
            if not any(one.kind is Kind.DOWN for one in outcomes):
                assert HELD not in told[good : good + 1]


class TestLost:
    def test_what_is_on_its_way_is_down_and_the_rest_held(self, make: Make) -> None:
        async def script(event: Event, wire: Wire) -> Outcome:
            if len(wire.sent) < 10:
                return DELIVERED
            if len(wire.on_their_way) == 4:
                wire.lost.set_result(LOST)
            await asyncio.Event().wait()
            raise AssertionError

        publisher = make(script)
        outcomes = publisher.send_batch(make_events(keys=20, each=2))

        assert outcomes.count(DELIVERED) == 9
        assert outcomes.count(LOST) == 4
        assert outcomes.count(HELD) == 27

    def test_the_next_batch_has_a_new_connection(self, make: Make) -> None:
        async def script(_event: Event, wire: Wire) -> Outcome:
            return DELIVERED if len(publisher.wires) > 1 else LOST

        publisher = make(script)
        event = make_event()

        assert publisher.send_batch([event]) == [LOST]
        assert publisher.send_batch([event]) == [DELIVERED]
        assert publisher.send_batch([event]) == [DELIVERED]

        first, second = publisher.wires
        assert first.is_closed
        assert not second.is_closed

    def test_after_one_that_is_down_nothing_more_is_sent(self, make: Make) -> None:
        async def script(_event: Event, wire: Wire) -> Outcome:
            return DELIVERED if len(wire.sent) < 3 else LOST

        publisher = make(script, in_flight=1)

        outcomes = publisher.send_batch(make_events(keys=6, each=1))

        assert outcomes == [DELIVERED, DELIVERED, LOST, HELD, HELD, HELD]
        assert len(publisher.wires[0].sent) == 3

    def test_one_that_was_lost_between_two_batches(self, make: Make) -> None:
        publisher = make(deliver)
        publisher.send_batch([make_event()])
        (wire,) = publisher.wires
        wire.lost.get_loop().call_soon_threadsafe(wire.lost.set_result, LOST)

        assert publisher.send_batch([make_event()]) == [DELIVERED]

        assert len(publisher.wires) == 2

    def test_there_is_none(self, make: Make) -> None:
        class Nowhere(ScriptedPublisher):
            async def connect(self) -> Wire:
                raise Unreachable(LOST)

        publisher = Nowhere(deliver)
        try:
            assert publisher.send_batch(make_events(keys=2, each=2)) == [LOST, HELD, HELD, HELD]
        finally:
            publisher.close()

    @pytest.mark.parametrize("error", [ValueError("no seed"), SystemExit("no seed")])
    def test_what_else_connecting_raises_is_no_fault_of_an_event(
        self, make: Make, error: BaseException
    ) -> None:
        class Broken(ScriptedPublisher):
            async def connect(self) -> Wire:
                raise error

        publisher = Broken(deliver)
        try:
            first, *others = publisher.send_batch(make_events(keys=2, each=2))
        finally:
            publisher.close()

        assert first == down(type(error).__name__, "no seed")
        assert others == [HELD, HELD, HELD]


class TestConfirmationThatNeverComes:
    def test_among_others_that_come(self, make: Make) -> None:
        """Each of the others would start the waiting anew, if only the last answer counted."""
        silent = make_event()

        async def script(event: Event, wire: Wire) -> Outcome:
            if event is silent:
                await asyncio.Event().wait()
            await asyncio.sleep(0.02)
            return DELIVERED

        publisher = make(script, in_flight=2, timeout=0.2)
        outcomes = publisher.send_batch([silent, *make_events(keys=1, each=500)])

        assert outcomes[0].kind is Kind.DOWN
        assert outcomes[0].code == "timeout"
        assert 2 < outcomes.count(DELIVERED) < 100
        (wire,) = publisher.wires
        assert wire.is_closed


class TestSurprise:
    @pytest.mark.parametrize("kind", [LookupError, SystemExit])
    def test_it_costs_its_own_event_an_attempt(
        self, make: Make, caplog: pytest.LogCaptureFixture, kind: type[BaseException]
    ) -> None:
        strange = make_event()

        async def script(event: Event, _wire: Wire) -> Outcome:
            if event is strange:
                raise kind("what is this")
            return DELIVERED

        outcomes = make(script).send_batch([strange, make_event()])

        assert outcomes == [rejected(kind.__name__, "what is this"), DELIVERED]
        assert f"event_id={strange.id} could not be sent" in caplog.text


class TestClose:
    def test_the_thread_ends(self, make: Make) -> None:
        publisher = make(deliver)
        publisher.send_batch([make_event()])
        assert "ScriptedPublisher" in {thread.name for thread in threading.enumerate()}

        publisher.close()
        publisher.close()

        assert "ScriptedPublisher" not in {thread.name for thread in threading.enumerate()}
        assert publisher.wires[0].is_closed
