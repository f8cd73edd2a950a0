"""A server that asks for credentials, as hosted ones do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from outbox.outcomes import DELIVERED, Kind
from outbox.publishers.nats import NatsPublisher
from outbox.publishers.streams import BrokerUnreachable
from tests.outbox.publishers.events import SOURCE, make_event
from tests.outbox.publishers.nats_accounts import server_with_accounts

STREAM = "SHOP"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, Path]]:
    with server_with_accounts(tmp_path_factory.mktemp("nats")) as found:
        yield found


def publisher(url: str, credentials: Path | None) -> NatsPublisher:
    return NatsPublisher(
        **SOURCE,
        stream=STREAM,
        url=url,
        credentials=None if credentials is None else str(credentials),
    )


def test_who_has_them_is_let_in(server: tuple[str, Path, Path]) -> None:
    url, ours, _ = server
    made = publisher(url, ours)
    made.create_stream()
    made.open()
    try:
        assert made.send_batch([make_event() for _ in range(3)]) == [DELIVERED] * 3
    finally:
        made.close()


@pytest.mark.parametrize("whose", ["nobody", "somebody else"])
def test_others_are_not_and_no_event_is_to_blame(
    server: tuple[str, Path, Path], whose: str
) -> None:
    url, _, others = server
    made = publisher(url, others if whose == "somebody else" else None)
    made.open()
    try:
        outcomes = made.send_batch([make_event(), make_event()])
    finally:
        made.close()

    assert [outcome.kind for outcome in outcomes] == [Kind.DOWN, Kind.HELD]
    assert outcomes[0].code == "unreachable"
    assert "authorization" in outcomes[0].message.lower()
    with pytest.raises(BrokerUnreachable, match=r"(?i)authorization"):
        made.check_stream()
