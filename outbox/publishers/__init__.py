"""What carries events away. One class each, named in HODEI_OUTBOX["DESTINATIONS"].

A publisher of your own is a class with these methods; the options of its destination are what its
``__init__`` gets, as keyword arguments in lower case.

The relay uses one publisher from one thread: ``open`` once, ``send_batch`` again and again, and
``close``; and all of it again after a failure of its own. After an outcome of DOWN it may call
``send_batch`` again at any time, and the publisher connects anew by itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from outbox.events import Event
from outbox.outcomes import Outcome
from outbox.publishers.options import ExtraMissing, OptionInvalid

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


class PublisherNotFound(ImproperlyConfigured):
    """What a destination names as its publisher cannot be imported, or is none."""


def publisher_of(destination: Destination, settings: OutboxSettings) -> Publisher:
    """Make the publisher of a destination. Raises ImproperlyConfigured; nothing is connected to.

    Its ``__init__`` gets the destination's options in lower case, and ``source`` and ``namespace``
    of the envelope. The error is a PublisherNotFound, an OptionInvalid or an ExtraMissing, and
    names the destination.
    """
    where = f"Destination {destination.name!r}"
    try:
        kind = _class_of(destination.publisher)
        return kind(
            source=settings.source,
            namespace=settings.namespace,
            **_parameters(kind, destination),
        )
    except ExtraMissing as error:
        raise ExtraMissing(f"{where}: {error}", extra=error.extra) from error
    except (PublisherNotFound, OptionInvalid) as error:
        raise type(error)(f"{where}: {error}") from error


def _class_of(path: str) -> Callable[..., Publisher]:
    try:
        found = import_string(path)
    except ImportError as error:
        raise PublisherNotFound(f"{path!r} cannot be imported ({error}).") from error
    # Not by callable(): in this package that is the name of a module.
    methods = ("open", "send_batch", "close")
    if not isinstance(found, type) or not all(hasattr(found, name) for name in methods):
        raise PublisherNotFound(
            f"{path!r} is no publisher: a class with open(), send_batch() and close() is."
        )
    return found


def _parameters(kind: Callable[..., Publisher], destination: Destination) -> dict[str, Any]:
    """The options as keyword arguments. Raises OptionInvalid for one that is unknown or missing."""
    known = inspect.signature(kind).parameters
    takes_any = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in known.values())
    named = {name for name in known if name not in {"source", "namespace"}}
    options = {name.lower(): value for name, value in destination.options.items()}
    allowed = ", ".join(sorted(name.upper() for name in named)) or "none"
    for name in options:
        if name not in named and not takes_any:
            raise OptionInvalid(f"there is no option {name.upper()}; the options are: {allowed}.")
    for name in named - options.keys():
        is_needed = known[name].default is inspect.Parameter.empty
        if is_needed and known[name].kind is inspect.Parameter.KEYWORD_ONLY:
            raise OptionInvalid(f"the option {name.upper()} is missing.")
    return options


def chains(events: Sequence[Event]) -> Iterator[list[int]]:
    """The positions of the events of each key, in order: what has to go one after the other."""
    found: dict[tuple[str, object], list[int]] = {}
    for place, event in enumerate(events):
        found.setdefault(event.key, []).append(place)
    yield from found.values()
