"""Deliver events: one relay for each destination, in a thread of its own, until it is told to stop.

Exit codes: 0 told to stop, or with ``--once`` nothing is left that could be sent now; 1 with
``--once``: events wait, for a retry time, a person, a destination that is down, or another relay
that has their lanes; 2 misuse or wrong settings; 3 with ``--once``: the database could not be used.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeGuard

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.db import connections

from hodei.schema.connection import words_of
from hodei.schema.management.arguments import whole
from hodei.schema.management.reports import FINE, FOUND, MISUSE, UNVERIFIED, DatabaseCommand
from hodei.schema.suggestions import not_found
from outbox.conf import outbox_settings
from outbox.keys import LANES
from outbox.publishers import publisher_of
from outbox.relay import Relay
from outbox.states import BreakerState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.core.management.base import CommandParser

    from outbox.settlement import Decision

    #: What makes the observer of a destination, or none.
    Observers = Callable[[str], Callable[[Decision], None] | None]

logger = logging.getLogger(__name__)


class Command(DatabaseCommand):
    help = (
        "Deliver the events of the outbox to their destinations, in the order of each aggregate, "
        "until SIGTERM or Ctrl-C; what is being sent then is finished first, and a second signal "
        "does not wait. Run it on as many machines as you like: they share the work, and take over "
        "from one that dies. Exit codes: 0 fine, 1 with --once when events still wait, 2 misuse or "
        "wrong settings, 3 with --once when the database could not be used."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--destination",
            action="append",
            dest="destinations",
            metavar="NAME",
            help=(
                "Deliver to this destination of HODEI_OUTBOX alone. May be given several times. "
                "Without it: to all of them."
            ),
        )
        parser.add_argument(
            "--once",
            action="store_true",
            help="Deliver what can be delivered now, and end.",
        )
        parser.add_argument(
            "--lanes",
            type=whole("lanes", most=LANES),
            default=LANES,
            metavar="N",
            help=(
                f"Lease at most so many of a destination's {LANES} lanes. Without it: a fair share "
                "of them, by how many relays there are, and what limited ones leave."
            ),
        )

        parser.add_argument(
            "--metrics-port",
            type=_port,
            metavar="PORT",
            help=(
                "Serve metrics for Prometheus on this port, on every address of the machine. "
                "Without it there are none."
            ),
        )

    def report(self, **options: Any) -> int:
        stop = threading.Event()
        with self.metrics(options) as observer:
            relays = self.relays(options, stop, observer)
            errors = self.deliver(relays, stop)
        return self.end(relays, errors, options)

    def deliver(self, relays: Sequence[Relay], stop: threading.Event) -> list[BaseException]:
        """Run each in a thread of its own until all have ended; returns what ended them."""
        restore = _stop_by_signals(stop)
        errors: list[BaseException] = []
        try:
            threads = [
                threading.Thread(
                    target=_run, args=(relay, errors, stop), name=f"relay {relay.destination.name}"
                )
                for relay in relays
            ]
            for relay in relays:
                self.stderr.write(f"Relay {relay.owner} delivers to {relay.destination.name}.")
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    # With a time limit a signal is handled at once.
                    thread.join(0.5)
        finally:
            restore()
        return errors

    @contextmanager
    def metrics(self, options: dict[str, Any]) -> Iterator[Observers]:
        """Inside the block they are served where they are wanted; yields what makes a destination's
        observer."""
        port = options["metrics_port"]
        if port is None:
            yield lambda _destination: None
            return
        from prometheus_client import CollectorRegistry, start_http_server  # noqa: PLC0415

        from outbox.metrics import OutboxCollector, RelayMetrics  # noqa: PLC0415

        registry = CollectorRegistry()
        registry.register(OutboxCollector(options["database"]))
        relays = RelayMetrics(registry)
        try:
            server, thread = start_http_server(port, registry=registry)
        except OSError as error:
            raise CommandError(
                f"Metrics cannot be served on port {port}: {error.strerror}. Name another port.",
                returncode=MISUSE,
            ) from error

        def observer(destination: str) -> Callable[[Decision], None]:
            hook = relays.of(destination)
            return lambda decision: hook.record(decision, datetime.now(UTC))

        try:
            yield observer
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def relays(
        self,
        options: dict[str, Any],
        stop: threading.Event,
        observer: Observers,
    ) -> list[Relay]:
        try:
            settings = outbox_settings()
            names = options["destinations"] or list(settings.destinations)
            for name in names:
                if name not in settings.destinations:
                    raise CommandError(
                        not_found("destination", name, list(settings.destinations)),
                        returncode=MISUSE,
                    )
            return [
                Relay(
                    options["database"],
                    settings.destinations[name],
                    publisher_of(settings.destinations[name], settings),
                    stop=stop,
                    most_lanes=options["lanes"],
                    once=options["once"],
                    observe=observer(name),
                )
                for name in dict.fromkeys(names)
            ]
        except ImproperlyConfigured as error:
            raise CommandError(str(error), returncode=MISUSE) from error

    def end(
        self, relays: Sequence[Relay], errors: Sequence[BaseException], options: dict[str, Any]
    ) -> int:
        for relay in relays:
            counts = relay.counts
            self.stdout.write(
                f"{relay.destination.name}: {counts.delivered} delivered, {counts.retried} "
                f"rejected and to be tried again, {counts.dead} given up"
            )
            if relay.breaker.state is BreakerState.OPEN:
                self.stderr.write(f"{relay.destination.name} is down: {relay.breaker.error}")
        if errors:
            raise CommandError(
                words_of(errors[0], options["database"])
                if _is_of_the_database(errors[0])
                else f"{type(errors[0]).__name__}: {' '.join(str(errors[0]).split())}",
                returncode=UNVERIFIED,
            ) from errors[0]
        if options["once"] and _waiting(options["database"], relays):
            self.stderr.write("Events still wait; outbox_stats tells for what.")
            return FOUND
        return FINE


def _is_of_the_database(error: BaseException) -> TypeGuard[Exception]:
    return type(error).__module__.startswith("psycopg")


def _run(relay: Relay, errors: list[BaseException], stop: threading.Event) -> None:
    try:
        relay.run()
    except BaseException as error:
        # The thread ends here; the command tells of it.
        if not _is_of_the_database(error):
            logger.exception("relay ended destination=%s", relay.destination.name)
        errors.append(error)
        if not isinstance(error, Exception):
            # Nothing that a relay begins anew after: the process ends, and is started again.
            stop.set()
    finally:
        connections.close_all()


def _waiting(using: str, relays: Sequence[Relay]) -> bool:
    with connections[using].cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM outbox_events "
            "WHERE status = 'PENDING' AND destination = ANY(%s))",
            [[relay.destination.name for relay in relays]],
        )
        return bool(cursor.fetchone()[0])


def _stop_by_signals(stop: threading.Event) -> Any:
    """Let SIGTERM and SIGINT stop it, the second one at once. Returns what undoes it."""
    if threading.current_thread() is not threading.main_thread():
        return lambda: None

    def end(number: int, _frame: object) -> None:
        if stop.is_set():
            # A thread that sends cannot be ended; the process can.
            os._exit(128 + number)
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    return restore


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535):
        raise ArgumentTypeError(f"{text!r} is no port; give 1 to 65535.")
    return int(text)
