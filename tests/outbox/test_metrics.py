"""What Prometheus is told, read back from its own text format."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connections
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from outbox.events import Event
from outbox.metrics import OutboxCollector, RelayMetrics
from outbox.outcomes import down, permanent, rejected
from outbox.services import dead_letters
from outbox.settlement import Decision, Failure
from tests.databases import alias_of
from tests.outbox.conftest import Outbox
from tests.outbox.dead import JOB, OTHER, die, in_thread, refusing
from tests.processes import ROOT, eventually

PAGE = ROOT / "docs/reference/outbox_stats.md"
NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)


def scraped(registry: CollectorRegistry) -> dict[tuple[str, ...], float]:
    """Every sample by its name, without the prefix, and the values of its labels."""
    text = generate_latest(registry).decode()
    return {
        (sample.name.removeprefix("hodei_outbox_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def collected(using: str = "default") -> dict[tuple[str, ...], float]:
    registry = CollectorRegistry()
    registry.register(OutboxCollector(using))
    return scraped(registry)


class TestCollector:
    def test_of_an_empty_outbox(self, inside: Outbox) -> None:
        assert collected() == {
            ("up",): 1,
            ("pending", "ready"): 0,
            ("pending", "held"): 0,
            ("oldest_pending_seconds",): 0,
            ("published_per_second",): 0,
            ("aggregates_held", "default", "backoff"): 0,
            ("aggregates_held", "default", "parked"): 0,
            ("lag_seconds", "default"): 0,
            **{("lane_lag_seconds", "default", str(lane)): 0 for lane in range(64)},
            ("lanes_leased", "default"): 0,
            ("relays", "default"): 0,
            ("breaker_open", "default"): 0,
            ("oldest_dead_letter_seconds",): 0,
        }

    def test_of_one_that_is_stuck(self, inside: Outbox) -> None:
        die(inside, JOB, 1, 2, 3)
        die(inside, OTHER, 4, outcome=permanent("gone", "nobody"))
        inside.publish(uuid.uuid4(), 5)
        inside.drain(refusing(5, outcome=rejected("busy", "later")))
        inside.publish(uuid.uuid4(), 6)
        inside.execute("UPDATE outbox_events SET created_at = now() - interval '1 h'")
        inside.execute("UPDATE outbox_dlq SET moved_at = now() - interval '1 day'")
        inside.execute(
            "INSERT INTO outbox_relays (destination, owner, breaker) "
            "VALUES ('default', 'a', 'OPEN'), ('default', 'b', 'CLOSED')"
        )

        found = collected()

        assert (found["pending", "ready"], found["pending", "held"]) == (1, 3)
        assert found["aggregates_held", "default", "parked"] == 2
        assert found["aggregates_held", "default", "backoff"] == 1
        assert found["dead_letters_open", "http_422"] == found["dead_letters_open", "gone"] == 1
        assert (found["relays", "default"], found["breaker_open", "default"]) == (2, 1)
        for name, seconds in (
            ("oldest_pending_seconds", 3_600),
            ("oldest_dead_letter_seconds", 86_400),
        ):
            assert seconds <= found[name,] < seconds + 300
        assert 3_600 <= found["lag_seconds", "default"] < 3_900

    def test_each_lane_and_what_was_delivered(self, inside: Outbox) -> None:
        inside.publish(uuid.UUID(int=7), *range(60))
        inside.drain()
        inside.publish(uuid.UUID(int=3), 1)
        inside.publish(uuid.UUID(int=5), 2)
        inside.execute(
            "UPDATE outbox_events SET created_at = now() - lane * interval '1 h' "
            "WHERE status = 'PENDING'"
        )

        found = collected()

        hours = {
            lane: round(found["lane_lag_seconds", "default", str(lane)] / 3600)
            for lane in range(64)
        }
        assert {lane: lag for lane, lag in hours.items() if lag} == {3: 3, 5: 5}
        assert found["lag_seconds", "default"] == found["lane_lag_seconds", "default", "5"]
        assert found["published_per_second",] == 1

    def test_classes_that_are_too_many_are_one(
        self, inside: Outbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dead_letters.reading, "MOST_GROUPS", 2)
        for number, name in enumerate(("a", "a", "b", "c", "d")):
            die(inside, uuid.uuid4(), number, outcome=permanent(name, "x"))
        inside.execute("UPDATE outbox_dlq SET error_class = NULL WHERE error_class = 'b'")

        found = {key[1]: value for key, value in collected().items() if key[0].startswith("dead_")}

        assert found == {"a": 2, "c": 1, "(others)": 2}

    def test_a_database_that_cannot_be_read(self, django_db_blocker: Any) -> None:
        where = {"NAME": "x", "USER": "x", "PASSWORD": "", "HOST": "127.0.0.1", "PORT": "1"}
        nobody = {"ENGINE": "django.db.backends.postgresql", **where}

        with django_db_blocker.unblock(), alias_of(nobody) as alias:
            assert collected(alias) == {("up",): 0}

    def test_a_thread_of_a_server_leaves_no_connection(self, outbox: Outbox) -> None:
        before = sessions(outbox)

        def scrape() -> bool:
            collected()
            return connections["default"].connection is None

        thread, found = in_thread(scrape)
        thread.join(30)

        assert found == [True]
        assert eventually(lambda: sessions(outbox) <= before)

    def test_registering_asks_no_database(self) -> None:
        CollectorRegistry().register(OutboxCollector("no such alias"))


class TestDocs:
    """What is exported is documented, and the other way round: somebody alarms by these names."""

    def test_the_page_has_each_with_its_labels(self, inside: Outbox) -> None:
        die(inside, JOB, 1)
        registry = CollectorRegistry()
        registry.register(OutboxCollector())
        exported = labels_of(registry)
        rows = re.findall(r"^\| (`hodei_.*?) \|(.*?)\|", PAGE.read_text(), flags=re.MULTILINE)

        documented = {
            name: set(re.findall(r"`(\w+)`", labels))
            for names, labels in rows
            for name in re.findall(r"`(\w+)`", names)
        }

        assert documented == exported

    def test_no_page_has_one_that_there_is_not(self, inside: Outbox) -> None:
        die(inside, JOB, 1)
        registry = CollectorRegistry()
        registry.register(OutboxCollector())
        RelayMetrics(registry).of("default")
        exported = set(labels_of(registry))

        pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
        told = {page.name: set(re.findall(r"hodei_outbox_\w+", page.read_text())) for page in pages}

        assert told[PAGE.name] == exported
        assert {name: found - exported for name, found in told.items() if found - exported} == {}


def labels_of(registry: CollectorRegistry) -> dict[str, set[str]]:
    """The name of each metric, as one asks for it, and its labels."""
    text = generate_latest(registry).decode()
    return {
        f"{family.name}_total" if family.type == "counter" else family.name: set(
            family.samples[0].labels
        )
        - {"le"}
        for family in text_string_to_metric_families(text)
        if not family.name.endswith("_created")
    }


def sessions(outbox: Outbox) -> int:
    found: int = outbox.value(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    )
    return found


def event(seconds_ago: float) -> Event:
    return Event(
        id=uuid.uuid4(),
        seq=1,
        event_type="Counted",
        version=1,
        aggregate_type="JOB",
        aggregate_id=JOB,
        subject="1",
        data="{}",
        metadata={},
        idempotency_key=None,
        created_at=NOW - timedelta(seconds=seconds_ago),
        destination="default",
    )


class TestRelayMetrics:
    def test_counts_what_became_of_a_batch(self) -> None:
        registry = CollectorRegistry()
        hook = RelayMetrics(registry).of("default")

        hook.record(
            Decision(
                delivered=[event(0.02), event(3), event(40)],
                failures=[
                    Failure(event(1), "busy", "later", again_in=2.0),
                    Failure(event(1), "gone", "nobody", again_in=None),
                    Failure(event(1), "gone", "nobody", again_in=None),
                ],
                unsent=[event(1)],
                down=down("refused", "nobody"),
            ),
            NOW,
        )

        found = scraped(registry)
        assert found["delivered_total", "default"] == 3
        assert found["rejected_total", "default"] == 1
        assert found["dead_total", "default"] == 2
        assert found["transport_failures_total", "default"] == 1
        assert found["delivery_seconds_count", "default"] == 3
        assert found["delivery_seconds_sum", "default"] == pytest.approx(43.02)
        bounds = ("0.01", "0.025", "5.0", "60.0")
        assert [found["delivery_seconds_bucket", "default", one] for one in bounds] == [0, 1, 2, 3]

    def test_a_clock_that_is_behind_makes_no_negative_latency(self) -> None:
        registry = CollectorRegistry()

        RelayMetrics(registry).of("default").record(Decision(delivered=[event(-3600)]), NOW)

        assert scraped(registry)["delivery_seconds_sum", "default"] == 0

    def test_several_destinations_share_the_metrics(self) -> None:
        registry = CollectorRegistry()
        metrics = RelayMetrics(registry)

        metrics.of("a").record(Decision(delivered=[event(1)]), NOW)
        metrics.of("b")
        metrics.of("a").record(Decision(delivered=[event(1)]), NOW)

        found = scraped(registry)
        assert found["delivered_total", "a"] == 2
        # A counter that is not there yet cannot be alarmed by.
        assert found["delivered_total", "b"] == found["dead_total", "b"] == 0
