"""What carries events away. One class each, named in HODEI_OUTBOX["DESTINATIONS"].

A publisher of your own is a class with these methods; the options of its destination are what its
``__init__`` gets, as keyword arguments in lower case.

The relay uses one publisher from one thread: ``open`` once, ``send_batch`` again and again, and
``close``. After an outcome of DOWN it may call ``send_batch`` again at any time, and the publisher
connects anew by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from outbox.events import Event
from outbox.outcomes import Outcome

if TYPE_CHECKING:
    from outbox.conf import Destination, OutboxSettings


class Publisher(Protocol):
    """Carries events to one destination."""

    def open(self) -> None:
        """Get ready. No need to connect: an unreachable destination is told by ``send_batch``."""

    def send_batch(self, events: Sequence[Event]) -> Sequence[Outcome]:
        """Send the events and return what became of each, in the same order.

        The events are sorted by ``seq``. Those of one key are to arrive in that order, so an event
        is only sent once the earlier ones of its key are DELIVERED; behind one that was not, the
        others of its key are HELD. Events of different keys may go side by side. DELIVERED means
        that the destination has confirmed it. Does not raise: what goes wrong is an outcome.
        """
        ...

    def close(self) -> None:
        """Let go of connections. May be called twice, and after a failure."""


def publisher_of(destination: Destination, settings: OutboxSettings) -> Publisher:
    """Make the publisher of a destination. Raises ImproperlyConfigured.

    Its ``__init__`` gets the destination's options in lower case, and ``source`` and ``namespace``
    of the envelope.
    """
    where = f"Destination {destination.name!r}"
    try:
        made = import_string(destination.publisher)
    except ImportError as error:
        raise ImproperlyConfigured(
            f"{where}: its publisher {destination.publisher!r} cannot be imported ({error})."
        ) from error
    options = {name.lower(): value for name, value in destination.options.items()}
    try:
        publisher: Publisher = made(source=settings.source, namespace=settings.namespace, **options)
    except TypeError as error:
        raise ImproperlyConfigured(
            f"{where}: {destination.publisher} does not take these options ({error})."
        ) from error
    return publisher


def chains(events: Sequence[Event]) -> Iterator[list[int]]:
    """The positions of the events of each key, in order: what has to go one after the other."""
    found: dict[tuple[str, object], list[int]] = {}
    for place, event in enumerate(events):
        found.setdefault(event.key, []).append(place)
    yield from found.values()
