"""Make or check what brokers must have before events can go there.

Exit codes: 0 fine; 1 something is missing or wrong at a broker; 2 misuse or wrong configuration;
3 a broker could not be asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError

from hodei.schema.management.output import StreamCommand
from hodei.schema.management.reports import FOUND, MISUSE, UNVERIFIED, quiet_ends
from hodei.schema.suggestions import not_found
from hodei.values import said
from outbox.conf import Destination, OutboxSettings, outbox_settings
from outbox.publishers import publisher_of
from outbox.publishers.streams import BrokerUnreachable, HasStream

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(StreamCommand):
    help = (
        "Make (create) or look at (check) what the brokers in HODEI_OUTBOX must have before events "
        "can go there: the stream of NATS JetStream, the exchange and a queue of RabbitMQ. Create "
        "makes what is missing and leaves what is there as it is; relays never make anything. Exit "
        "codes: 0 fine, 1 something is missing or wrong at a broker, 2 misuse or wrong "
        "configuration, 3 a broker could not be asked."
    )
    # The check of this very setting would say the same in more words.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "action",
            choices=["create", "check"],
            help="create: make what is missing. check: look, and change nothing.",
        )
        parser.add_argument(
            "--destination",
            metavar="NAME",
            help=(
                "One destination: a key of HODEI_OUTBOX['DESTINATIONS']. Without it: every "
                "destination that has a broker."
            ),
        )

    def handle(self, *_args: object, **options: Any) -> None:
        with quiet_ends():
            self.ask(options)
            self.stdout.flush()

    def ask(self, options: dict[str, Any]) -> None:
        try:
            publishers = _publishers(outbox_settings(), options["destination"])
        except ImproperlyConfigured as error:
            raise CommandError(str(error), returncode=MISUSE) from error
        if not publishers:
            self.stdout.write("No destination has a broker: nothing to do.")
        codes = {
            self._act(name, publisher, create=options["action"] == "create")
            for name, publisher in publishers
        }
        worst = max(codes, default=0)
        if worst:
            raise CommandError(
                "A broker could not be asked."
                if worst == UNVERIFIED
                else "Events cannot be relied upon to arrive there.",
                returncode=worst,
            )

    def _act(self, name: str, publisher: HasStream, *, create: bool) -> int:
        """Do it for one destination, say what there is to say, return the exit code."""
        try:
            report = publisher.create_stream() if create else publisher.check_stream()
        except BrokerUnreachable as error:
            self.stderr.write(f"{name}: {error}")
            return UNVERIFIED
        except BrokenPipeError:
            raise
        except Exception as error:  # noqa: BLE001  (it is the client's: a wrong file of credentials)
            self.stderr.write(f"{name}: {type(error).__name__}: {said(error)}")
            return UNVERIFIED
        for line in report.lines:
            self.stdout.write(f"{name}: {line}")
        for problem in report.problems:
            self.stdout.write(f"{name}: {problem}", self.style.ERROR)
        return FOUND if report.problems else 0


def _publishers(settings: OutboxSettings, name: str | None) -> list[tuple[str, HasStream]]:
    """Raises ImproperlyConfigured, and CommandError for a name that is none or has no stream."""
    if name is None:
        made = [(one.name, publisher_of(one, settings)) for one in settings.destinations.values()]
        return [(key, publisher) for key, publisher in made if isinstance(publisher, HasStream)]
    destination: Destination | None = settings.destinations.get(name)
    if destination is None:
        raise CommandError(
            not_found("destination", name, list(settings.destinations)), returncode=MISUSE
        )
    publisher = publisher_of(destination, settings)
    if not isinstance(publisher, HasStream):
        raise CommandError(
            f"Destination {name!r} goes to {destination.publisher}, which has no stream.",
            returncode=MISUSE,
        )
    return [(name, publisher)]
