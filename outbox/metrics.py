"""The outbox for Prometheus: what stands in the tables, and what a relay has done.

registry.register(OutboxCollector())          # on whichever process: it reads the database
hook = RelayMetrics(registry).of("default")   # in a relay: hook.record(decision, now)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from django.db import DEFAULT_DB_ALIAS, Error, connections
from prometheus_client import REGISTRY, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from outbox.services.inspection import Statistics, statistics
from outbox.states import BreakerState

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

    from outbox.settlement import Decision

#: Seconds from the start of the transaction that wrote an event to its delivery.
LATENCIES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200)


class OutboxCollector(Collector):
    """Reads the database whenever it is asked: the state of the outbox, however many relays run.

    A database that cannot be read is ``hodei_outbox_up 0`` and nothing else.
    """

    def __init__(self, using: str = DEFAULT_DB_ALIAS) -> None:
        self._using = using

    def describe(self) -> list[Metric]:
        """Nothing: registering must not need a database."""
        return []

    def collect(self) -> Iterator[Metric]:
        connection = connections[self._using]
        was_open = connection.connection is not None
        try:
            found = statistics(using=self._using)
        except Error:
            yield _gauge("up", "Whether the database could be read.", 0)
            return
        finally:
            if not was_open:
                # A thread of the server that asks ends without telling Django.
                connection.close()
        yield _gauge("up", "Whether the database could be read.", 1)
        yield from _families(found)


class RelayMetrics:
    """The counters of the relays of this process: one object for each registry."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        labels = ["destination"]
        self._delivered = Counter(
            "hodei_outbox_delivered", "Events that were delivered.", labels, registry=registry
        )
        self._rejected = Counter(
            "hodei_outbox_rejected",
            "Attempts that were rejected, and will be made again.",
            labels,
            registry=registry,
        )
        self._dead = Counter(
            "hodei_outbox_dead", "Events that became dead letters.", labels, registry=registry
        )
        self._down = Counter(
            "hodei_outbox_transport_failures",
            "Times that the destination could not be reached.",
            labels,
            registry=registry,
        )
        self._latency = Histogram(
            "hodei_outbox_delivery_seconds",
            "From the start of the transaction that wrote an event to its delivery.",
            labels,
            registry=registry,
            buckets=LATENCIES,
        )

    def of(self, destination: str) -> RelayHook:
        """What the relay of this destination reports to; its counters begin at 0 at once."""
        return RelayHook(
            delivered=self._delivered.labels(destination),
            rejected=self._rejected.labels(destination),
            dead=self._dead.labels(destination),
            down=self._down.labels(destination),
            latency=self._latency.labels(destination),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayHook:
    """What became of each batch of one destination."""

    delivered: Counter
    rejected: Counter
    dead: Counter
    down: Counter
    latency: Histogram

    def record(self, decision: Decision, now: datetime) -> None:
        """Count a batch. ``now``, with a time zone, is when it was delivered: by a clock that is
        wrong the latency is wrong, and never below 0."""
        dead = sum(1 for failure in decision.failures if failure.again_in is None)
        self.delivered.inc(len(decision.delivered))
        self.rejected.inc(len(decision.failures) - dead)
        self.dead.inc(dead)
        if decision.down is not None:
            self.down.inc()
        for event in decision.delivered:
            self.latency.observe(max((now - event.created_at).total_seconds(), 0.0))


def _families(found: Statistics) -> Iterator[Metric]:
    pending = _family("pending", "Events that wait, counted up to a cap.", "state")
    pending.add_metric(["ready"], found.ready.number)
    pending.add_metric(["held"], found.held.number)
    yield pending
    yield _gauge(
        "oldest_pending_seconds",
        "Age of the oldest event that waits; 0 where none does.",
        found.oldest_pending_seconds or 0.0,
    )
    yield _gauge(
        "published_per_second",
        "Events that were delivered in the last minute, a second.",
        found.published_per_second,
    )
    keys = _family("aggregates_held", "Aggregates that are held back.", "destination", "state")
    lag = _family("lag_seconds", "Age of what is next in the slowest lane.", "destination")
    lanes = _family("lane_lag_seconds", "Age of what is next in the lane.", "destination", "lane")
    leased = _family("lanes_leased", "Lanes that a relay delivers from, of 64.", "destination")
    relays = _family("relays", "Relays that are alive.", "destination")
    breaker = _family("breaker_open", "Whether a relay cannot reach it.", "destination")
    for one in found.destinations:
        keys.add_metric([one.name, "backoff"], one.in_backoff)
        keys.add_metric([one.name, "parked"], one.parked)
        lag.add_metric([one.name], one.lag_seconds or 0.0)
        for lane in one.lanes:
            lanes.add_metric([one.name, str(lane.lane)], lane.lag_seconds or 0.0)
        leased.add_metric([one.name], one.leased)
        relays.add_metric([one.name], len(one.alive))
        breaker.add_metric([one.name], one.breaker is BreakerState.OPEN)
    yield from (keys, lag, lanes, leased, relays, breaker)
    letters = _family("dead_letters_open", "Dead letters that wait for a person.", "error_class")
    told = 0
    for group in found.dead_letters.by_class:
        letters.add_metric([group.key or "(none)"], group.count)
        told += group.count
    if found.dead_letters.open > told:
        letters.add_metric(["(others)"], found.dead_letters.open - told)
    yield letters
    yield _gauge(
        "oldest_dead_letter_seconds",
        "How long the oldest open dead letter waits; 0 where there is none.",
        found.dead_letters.oldest_seconds or 0.0,
    )


def _family(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"hodei_outbox_{name}", text, labels=labels)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"hodei_outbox_{name}", text, value=value)
