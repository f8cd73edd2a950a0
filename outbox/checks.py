"""System checks: a setting HODEI_OUTBOX that cannot work.

They look at the setting, and make each publisher without letting it connect to anything.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured

from outbox.conf import SETTING, Destination, OutboxSettings, UnknownDestination, read
from outbox.publishers import PublisherNotFound, publisher_of
from outbox.publishers.options import ExtraMissing, OptionInvalid

TAG = "outbox"
PAGE = "docs/reference/outbox_publishers.md"


@register(TAG)
def check_outbox(**_options: object) -> list[CheckMessage]:
    """outbox.E001 and E005 for the setting as a whole, E002 to E004 for its publishers."""
    try:
        found = read(getattr(settings, SETTING, {}))
    except UnknownDestination as error:
        hint = f"Name a key of {SETTING}['DESTINATIONS']."
        return [Error(str(error), hint=hint, id="outbox.E005")]
    except ImproperlyConfigured as error:
        hint = f"Correct {SETTING}; {PAGE} has all its keys."
        return [Error(str(error), hint=hint, id="outbox.E001")]
    return [
        message
        for destination in found.destinations.values()
        for message in _publisher(destination, found)
    ]


def _publisher(destination: Destination, found: OutboxSettings) -> Iterator[CheckMessage]:
    try:
        publisher_of(destination, found)
    except PublisherNotFound as error:
        hint = "Name the dotted path of a publisher's class, as in outbox.publishers.nats."
        yield Error(str(error), hint=f"{hint}NatsPublisher.", id="outbox.E002")
    except OptionInvalid as error:
        yield Error(
            str(error), hint=f"Correct its OPTIONS; {PAGE} has all of them.", id="outbox.E003"
        )
    except ExtraMissing as error:
        hint = f"Install it: pip install 'hodei[{error.extra}]'."
        yield Error(str(error), hint=hint, id="outbox.E004")
    except ImproperlyConfigured as error:
        # A publisher of the project's own, which says so in Django's words.
        yield Error(
            f"Destination {destination.name!r}: {error}",
            hint="Correct its OPTIONS.",
            id="outbox.E003",
        )
