"""Relays in processes that are killed: nothing lost, and each aggregate in order."""

from __future__ import annotations

import json
import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.destinations import Delivery
from tests.faults.scene import Scene, check_order
from tests.outbox.publishers.rigs import NatsRig, rig_of
from tests.pooler import pgbouncer
from tests.processes import eventually

pytestmark = pytest.mark.process

Note = Callable[[str, object], None]


@pytest.fixture
def jetstream() -> Iterator[NatsRig]:
    """A stream of the test's own."""
    with rig_of("nats") as made:
        assert isinstance(made, NatsRig)
        made.make()
        yield made


@pytest.mark.timeout(900)
class TestKilled:
    """Three relays; publishers that fail and die at random; relays killed at random."""

    @pytest.mark.parametrize(
        ("events", "kills"),
        [(2_000, 2), pytest.param(100_000, 25, marks=pytest.mark.slow)],
    )
    def test_nothing_is_lost_and_all_is_in_order(
        self, scene: Scene, events: int, kills: int, record_property: Note
    ) -> None:
        scene.survive(events, kills, REJECTS=0.002, DOWNS=0.0005, DIES=1 / events)

        deliveries = scene.deliveries()
        record_property("duplicates", check_order(deliveries))
        assert len(set(deliveries)) == events
        assert scene.count("status = 'PUBLISHED'") == events
        assert scene.value("SELECT count(*) FROM outbox_dlq") == 0

    @pytest.mark.parametrize(
        ("events", "kills"),
        [(1_500, 2), pytest.param(100_000, 25, marks=pytest.mark.slow)],
    )
    def test_jetstream_stores_each_event_once_and_in_order(
        self, scene: Scene, jetstream: NatsRig, events: int, kills: int, record_property: Note
    ) -> None:
        """Its duplicate window leaves out what is sent again."""
        scene.survive(
            events,
            kills,
            publisher="FaultyNats",
            STREAM=jetstream.unique,
            SUBJECT=f"{jetstream.unique}.{{aggregate_type}}.{{event_type}}",
            REJECTS=0.002,
            DOWNS=0.001,
            DIES=1 / events,
        )

        stored = [delivery_of(message.envelope) for message in jetstream.received()]
        sent_again = len(scene.deliveries()) - events
        record_property("sent again", sent_again)
        assert sent_again > 0, "nothing was left to the duplicate window"
        assert check_order(stored) == 0
        assert len(stored) == events
        assert scene.count("status = 'PUBLISHED'") == events
        assert scene.value("SELECT count(*) FROM outbox_dlq") == 0

    def test_a_payload_that_kills_ends_as_crashed(self, scene: Scene) -> None:
        scene.write(40, hot=2, cold=5)

        for _ in range(8):
            relay = scene.relay("--once", POISON=10)
            relay.communicate(timeout=60)
            scene.bury(relay)
            if relay.returncode != -signal.SIGKILL:
                break

        assert scene.value("SELECT array_agg(error_class) FROM outbox_dlq") == ["crashed"]
        # The followers of number 10 wait for a person: 12, 14 ... of the same aggregate.
        assert scene.count("status = 'PENDING'") == 7
        assert scene.count("status = 'PENDING' AND held") == 7
        check_order(scene.deliveries())


def delivery_of(envelope: bytes) -> Delivery:
    event = json.loads(envelope)
    return Delivery(event["subject"], event["data"]["n"], event["id"])


class TestSignals:
    def test_sigterm_finishes_what_is_being_sent(self, scene: Scene) -> None:
        scene.write(5_000, hot=5, cold=100)
        relay = scene.relay()
        assert eventually(lambda: scene.path.exists() and scene.path.stat().st_size > 0)

        relay.send_signal(signal.SIGTERM)
        told, errors = relay.communicate(timeout=60)

        assert relay.returncode == 0
        delivered = scene.count("status = 'PUBLISHED'")
        assert len(scene.deliveries()) == delivered
        assert told == (
            f"default: {delivered} delivered, 0 rejected and to be tried again, 0 given up\n"
        )
        assert "delivers to default.\n" in errors
        assert scene.value("SELECT count(owner) FROM outbox_lanes") == 0


class TestDatabase:
    def test_it_goes_on_when_its_sessions_are_ended(self, scene: Scene) -> None:
        scene.relay()
        scene.write(10, hot=2, cold=2)
        assert scene.all_published(10)

        for _ in range(2):
            scene.session.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name LIKE 'hodei outbox%'"
            )
            scene.session.execute("UPDATE outbox_lanes SET leased_until = now()")
        scene.write(10, hot=2, cold=2)

        assert scene.all_published(20)
        check_order(scene.deliveries())


class TestPooler:
    def test_behind_transaction_pooling_it_polls_and_says_so(
        self, scene: Scene, database: dict[str, Any], tmp_path: Path
    ) -> None:
        with pgbouncer(database, "transaction", tmp_path) as through:
            relay = scene.relay(through=through)
            assert eventually(
                lambda: scene.value("SELECT array_agg(wakes_by) FROM outbox_relays") == ["polling"]
            )
            scene.write(200, hot=5, cold=50)
            assert scene.all_published(200)
            relay.send_signal(signal.SIGTERM)
            relay.communicate(timeout=60)
            left = scene.value(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = "
                "(SELECT oid FROM pg_database WHERE datname = current_database())"
            )

        assert left == 0
        check_order(scene.deliveries())

    @pytest.mark.parametrize("mode", ["session", "transaction"])
    def test_publish_works_in_every_mode(
        self,
        scene: Scene,
        database: dict[str, Any],
        tmp_path: Path,
        mode: str,
        django_db_blocker: Any,
    ) -> None:
        from django.db import transaction

        from outbox.services.publish import publish
        from tests.databases import alias_of

        with (
            django_db_blocker.unblock(),
            pgbouncer(database, mode, tmp_path) as through,
            alias_of(through, "pooled") as alias,
        ):
            for number in range(20):
                with transaction.atomic(using=alias):
                    publish("Counted", "JOB", uuid.UUID(int=1), {"n": number}, using=alias)

        assert scene.count("true") == 20
