"""What is Redis's own: what an entry has, how long a stream gets, what a server refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from redis import exceptions

from outbox.outcomes import DELIVERED, HELD, Kind
from outbox.publishers.redis import RedisPublisher, outcome_of
from tests.outbox.publishers.events import SOURCE, make_event, make_events
from tests.outbox.publishers.rigs import RedisRig, rig_of
from tests.outbox.publishers.servers import private_server

LARGE = {"text": "x" * 400_000}


@pytest.fixture
def rig() -> Iterator[RedisRig]:
    with rig_of("redis") as made:
        assert isinstance(made, RedisRig)
        yield made


class TestAnswers:
    @pytest.mark.parametrize(
        ("answer", "kind", "code"),
        [
            ("1762345-0", Kind.DELIVERED, ""),
            (b"1762345-0", Kind.DELIVERED, ""),
            (exceptions.ResponseError("WRONGTYPE Operation against"), Kind.DOWN, "wrong_type"),
            (exceptions.OutOfMemoryError("command not allowed"), Kind.DOWN, "out_of_memory"),
            (exceptions.ReadOnlyError("You can't write"), Kind.DOWN, "read_only"),
            (exceptions.BusyLoadingError("Redis is loading"), Kind.DOWN, "loading"),
            (exceptions.NoPermissionError("this user has no"), Kind.DOWN, "no_permission"),
            (exceptions.ResponseError("MISCONF Redis is configured"), Kind.DOWN, "cannot_persist"),
            (exceptions.ResponseError("MOVED 1 10.0.0.1:6379"), Kind.DOWN, "is_a_cluster"),
            (exceptions.ResponseError("ERR something else"), Kind.REJECTED, "redis_error"),
        ],
    )
    def test_what_they_mean(self, answer: Any, kind: Kind, code: str) -> None:
        outcome = outcome_of(answer)

        assert (outcome.kind, outcome.code) == (kind, code)


class TestEntry:
    def test_what_it_has(self, rig: RedisRig) -> None:
        event = make_event()

        assert rig.make().send_batch([event]) == [DELIVERED]

        ((_, fields),) = rig.client.xrange(f"{rig.unique}:OrderPlaced")
        assert fields.keys() == {"id", "type", "event"}
        assert (fields["id"], fields["type"]) == (str(event.id), "OrderPlaced")

    def test_a_stream_keeps_about_as_many_as_it_is_told(self, rig: RedisRig) -> None:
        publisher = rig.make(maxlen=200)

        outcomes = publisher.send_batch(make_events(keys=100, each=10))

        assert outcomes == [DELIVERED] * 1000
        # Redis cuts whole nodes off, of a hundred entries unless it is told otherwise.
        assert 200 <= rig.client.xlen(f"{rig.unique}:OrderPlaced") <= 300

    def test_without_that_it_keeps_all(self, rig: RedisRig) -> None:
        assert rig.make().send_batch(make_events(keys=100, each=10)) == [DELIVERED] * 1000

        assert rig.client.xlen(f"{rig.unique}:OrderPlaced") == 1000


class TestRefusal:
    def test_a_key_that_holds_something_else(self, rig: RedisRig) -> None:
        rig.client.set(f"{rig.unique}:plain", "a text")
        publisher = rig.make(stream=f"{rig.unique}:plain", in_flight=1)

        outcomes = publisher.send_batch(make_events(keys=2, each=2))

        assert (outcomes[0].kind, outcomes[0].code) == (Kind.DOWN, "wrong_type")
        assert outcomes[1:] == [HELD] * 3
        assert rig.client.get(f"{rig.unique}:plain") == "a text"

    def test_a_server_that_is_full_and_then_is_not(self) -> None:
        with private_server(
            "redis", "redis-server", "--port", "{port}", "--save", "", "--maxmemory", "3mb"
        ) as port:
            import redis

            publisher = RedisPublisher(**SOURCE, stream="s", url=f"redis://127.0.0.1:{port}")
            events = make_events(keys=1, each=20, payload=LARGE)
            outcomes = publisher.send_batch(events)

            sent = outcomes.count(DELIVERED)
            assert 0 < sent < 20
            assert (outcomes[sent].kind, outcomes[sent].code) == (Kind.DOWN, "out_of_memory")
            assert outcomes[sent + 1 :] == [HELD] * (19 - sent)
            with redis.Redis(port=port) as client:
                client.config_set("maxmemory", "100mb")
            assert publisher.send_batch(events[sent:]) == [DELIVERED] * (20 - sent)
            publisher.close()

    def test_a_wrong_password_is_told_without_it(self) -> None:
        with private_server(
            "redis", "redis-server", "--port", "{port}", "--save", "", "--requirepass", "right"
        ) as port:
            publisher = RedisPublisher(
                **SOURCE, stream="s", url=f"redis://:hunter2@127.0.0.1:{port}"
            )
            (outcome,) = publisher.send_batch([make_event()])
            publisher.close()

        assert (outcome.kind, outcome.code) == (Kind.DOWN, "no_permission")
        assert "hunter2" not in outcome.message
        assert f"127.0.0.1:{port}" in outcome.message


class TestWaves:
    def test_more_keys_than_may_be_in_flight(self, rig: RedisRig) -> None:
        events = make_events(keys=25, each=3)

        assert rig.make(in_flight=10).send_batch(events) == [DELIVERED] * 75

        assert len(rig.received()) == 75
