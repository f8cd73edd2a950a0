"""What is NATS's own: duplicates, subjects, the limits of a server and of a stream."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from nats.js import api

from outbox.outcomes import DELIVERED, HELD, Kind
from outbox.publishers.nats import NatsPublisher, outcome_of
from outbox.publishers.nats_stream import covers
from tests.outbox.publishers.events import SOURCE, make_event, make_events
from tests.outbox.publishers.rigs import NatsRig, rig_of
from tests.outbox.publishers.servers import private_server

URL = "nats://127.0.0.1:4222"


class Answer(NamedTuple):
    data: bytes
    headers: dict[str, str] | None = None


def error(code: int, number: int, words: str) -> bytes:
    return json.dumps({"error": {"code": code, "err_code": number, "description": words}}).encode()


@pytest.fixture
def rig() -> Iterator[NatsRig]:
    with rig_of("nats") as made:
        assert isinstance(made, NatsRig)
        yield made


async def with_stream(config: api.StreamConfig) -> None:
    import nats

    client = await nats.connect(URL)
    await client.jetstream().add_stream(config)
    await client.close()


class TestAnswers:
    @pytest.mark.parametrize(
        ("answer", "kind", "code"),
        [
            (Answer(b'{"stream":"S","seq":7}'), Kind.DELIVERED, ""),
            (Answer(b'{"stream":"S","seq":7,"duplicate":true}'), Kind.DELIVERED, ""),
            (Answer(b"", {"Status": "503"}), Kind.DOWN, "stream_missing"),
            (Answer(error(400, 10054, "message size")), Kind.PERMANENT, "message_too_large"),
            (Answer(error(400, 10097, "header size")), Kind.PERMANENT, "message_too_large"),
            (Answer(error(400, 10060, "expected stream")), Kind.DOWN, "other_stream"),
            (Answer(error(400, 10109, "sealed")), Kind.DOWN, "stream_sealed"),
            (Answer(error(503, 10077, "maximum messages")), Kind.DOWN, "stream_unavailable"),
            (Answer(error(503, 10023, "resources")), Kind.DOWN, "stream_unavailable"),
            (Answer(error(400, 10071, "wrong last sequence")), Kind.REJECTED, "nats_10071"),
            (Answer(b'{"error":{}}'), Kind.DOWN, "stream_unavailable"),
            (Answer(b"a service that answers everything"), Kind.DOWN, "no_confirmation"),
            (Answer(b"{}"), Kind.DOWN, "no_confirmation"),
            (Answer(b"[]"), Kind.DOWN, "no_confirmation"),
            (Answer(b'{"error":"odd"}'), Kind.DOWN, "no_confirmation"),
        ],
    )
    def test_what_they_mean(self, answer: Any, kind: Kind, code: str) -> None:
        outcome = outcome_of(answer, "S", "shop.ORDER.OrderPlaced")

        assert (outcome.kind, outcome.code) == (kind, code)


class TestCovers:
    @pytest.mark.parametrize(
        ("pattern", "wanted", "does"),
        [
            ("shop.*.*", "shop.*.*", True),
            ("shop.>", "shop.*.*", True),
            (">", "shop", True),
            ("shop.>", "shop", False),
            ("shop.ORDER.*", "shop.*.*", False),
            ("shop.*", "shop.*.*", False),
            ("shop.*.*.*", "shop.*.*", False),
            ("shop.*.*", "shop.ORDER.Paid", True),
        ],
    )
    def test_a_pattern(self, pattern: str, wanted: str, does: bool) -> None:
        assert covers(pattern, wanted) is does


class TestDuplicates:
    def test_a_second_copy_is_dropped_and_counts_as_delivered(self, rig: NatsRig) -> None:
        event = make_event()
        publisher = rig.make()

        assert publisher.send_batch([event]) == [DELIVERED]
        assert publisher.send_batch([event]) == [DELIVERED]

        assert len(rig.received()) == 1


class TestSubject:
    def test_what_an_event_fills_in_is_one_token(self, rig: NatsRig) -> None:
        events = [
            make_event(event_type=name)
            for name in ("order.paid", "a b", "*", ">", "x\r\nPUB y 0", "zażółć", "%41", "A")
        ]

        assert rig.make().send_batch(events) == [DELIVERED] * len(events)

        subjects = rig.run(self.subjects(rig.unique))
        assert len(set(subjects)) == len(events)
        assert all(one.startswith(f"{rig.unique}.ORDER.") for one in subjects)
        assert all(one.count(".") == 2 for one in subjects)

    async def subjects(self, stream: str) -> list[str]:
        import nats

        client = await nats.connect(URL)
        context = client.jetstream()
        count = (await context.stream_info(stream)).state.messages
        found = [(await context.get_msg(stream, one + 1)).subject or "" for one in range(count)]
        await client.close()
        return found


class TestLimits:
    def test_of_the_server_headers_included(self, rig: NatsRig) -> None:
        """One byte decides, on the server too: it ends the connection of who sends more."""
        publisher = rig.make()
        probe = make_event(data='""')
        assert publisher.send_batch([probe]) == [DELIVERED]
        ((envelope, _),) = rig.received()
        headers = len(
            f"NATS/1.0\r\nNats-Msg-Id: {probe.id}\r\nNats-Expected-Stream: {rig.unique}\r\n"
            "content-type: application/cloudevents+json\r\n\r\n"
        )
        room = 1024 * 1024 - headers - len(envelope)

        fits, does_not = (make_event(data=f'"{"x" * size}"') for size in (room, room + 1))
        outcomes = publisher.send_batch([fits, does_not])

        assert outcomes[0] == DELIVERED
        assert outcomes[1].kind is Kind.PERMANENT
        assert outcomes[1].code == "message_too_large"
        assert outcomes[1].message == ("The message has 1,048,577 bytes; NATS takes 1,048,576.")

    def test_of_the_stream(self, rig: NatsRig) -> None:
        rig.run(
            with_stream(
                api.StreamConfig(
                    name=rig.unique,
                    subjects=[f"{rig.unique}.*.*"],
                    max_msg_size=2000,
                    duplicate_window=600,
                )
            )
        )

        outcomes = rig.make().send_batch([make_event(payload="x" * 3000), make_event()])

        assert [outcome.kind for outcome in outcomes] == [Kind.PERMANENT, Kind.DELIVERED]
        assert outcomes[0].code == "message_too_large"

    def test_a_stream_that_is_full_holds_everything_up(self, rig: NatsRig) -> None:
        rig.run(
            with_stream(
                api.StreamConfig(
                    name=rig.unique,
                    subjects=[f"{rig.unique}.*.*"],
                    max_msgs=3,
                    discard=api.DiscardPolicy.NEW,
                    duplicate_window=600,
                )
            )
        )

        outcomes = rig.make(in_flight=1).send_batch(make_events(keys=5, each=1))

        assert outcomes[:3] == [DELIVERED] * 3
        assert outcomes[3].kind is Kind.DOWN
        assert "maximum messages exceeded" in outcomes[3].message
        assert outcomes[4] == HELD


class TestWrongStream:
    def test_a_subject_that_no_stream_takes(self, rig: NatsRig) -> None:
        rig.make()
        publisher = rig.make(subject=f"{rig.unique}.elsewhere.{{aggregate_type}}.x.y")

        outcomes = publisher.send_batch(make_events(keys=1, each=2))

        assert outcomes[0].kind is Kind.DOWN
        assert outcomes[0].code == "stream_missing"
        assert f"{rig.unique}.elsewhere.ORDER.x.y" in outcomes[0].message
        assert outcomes[1] == HELD

    def test_another_stream_does_not_get_them(self, rig: NatsRig) -> None:
        other = NatsRig(rig.stack)
        other.make()
        rig.make()
        publisher = rig.make(subject=f"{other.unique}.{{aggregate_type}}.{{event_type}}")

        (outcome,) = publisher.send_batch([make_event()])

        assert (outcome.kind, outcome.code) == (Kind.DOWN, "other_stream")
        assert other.received() == []


class TestServer:
    def test_a_wrong_password_is_told_without_it(self) -> None:
        with private_server(
            "nats",
            "nats-server",
            "-a",
            "127.0.0.1",
            "-p",
            "{port}",
            "--user",
            "relay",
            "--pass",
            "right",
        ) as port:
            publisher = NatsPublisher(
                **SOURCE, stream="S", url=f"nats://relay:wrong@127.0.0.1:{port}"
            )
            (outcome,) = publisher.send_batch([make_event()])
            publisher.close()

        assert (outcome.kind, outcome.code) == (Kind.DOWN, "unreachable")
        assert outcome.message == f"NATS at 127.0.0.1:{port}: Authorization Violation."

    def test_one_without_jetstream(self) -> None:
        with private_server("nats", "nats-server", "-a", "127.0.0.1", "-p", "{port}") as port:
            publisher = NatsPublisher(**SOURCE, stream="S", url=f"nats://127.0.0.1:{port}")
            (outcome,) = publisher.send_batch([make_event()])
            publisher.close()

        assert (outcome.kind, outcome.code) == (Kind.DOWN, "no_jetstream")

    def test_the_second_of_two_is_used_when_the_first_is_not_there(self, rig: NatsRig) -> None:
        rig.make()
        rig.proxy.close()
        publisher = rig.make(url=[f"nats://127.0.0.1:{rig.proxy.port}", URL])

        assert publisher.send_batch([make_event()]) == [DELIVERED]

    def test_it_is_restarted_and_nothing_is_lost(self, tmp_path: Path) -> None:
        words = ("-a", "127.0.0.1", "-p", "{port}", "-js", "-sd", str(tmp_path))
        events = make_events(keys=10, each=10)
        with private_server("nats", "nats-server", *words) as port:
            publisher = NatsPublisher(
                **SOURCE, stream="S", subject="s.{event_type}", url=f"nats://127.0.0.1:{port}"
            )
            publisher.create_stream()
            assert publisher.send_batch(events[:50]) == [DELIVERED] * 50

        assert publisher.send_batch(events[50:])[0].kind is Kind.DOWN
        with private_server("nats", "nats-server", *words, port=port):
            assert publisher.send_batch(events[50:]) == [DELIVERED] * 50
            publisher.close()
