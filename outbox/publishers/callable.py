"""To a function in the relay's own process.

The function gets the event and returns; what it raises decides what becomes of the event. It runs
outside of any transaction, one event after the other, and holds up the relay as long as it takes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from django.db import close_old_connections
from django.utils.module_loading import import_string

from hodei.values import said
from outbox.events import Event
from outbox.outcomes import (
    DELIVERED,
    HELD,
    RAISED,
    Kind,
    Outcome,
    down,
    permanent,
    rejected,
)
from outbox.publishers import options


class Undeliverable(Exception):  # noqa: N818  (it reads as the fact it states)
    """Raise it for an event that will never be taken: it becomes a dead letter at once."""


class Unavailable(Exception):  # noqa: N818
    """Raise it where nothing can be taken now: no attempt is spent, and all events wait.

    ``retry_after``: seconds to be left alone for, if known.
    """

    def __init__(self, message: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class CallablePublisher:
    """Options: FUNCTION, a function of one event or the dotted path of one.

    Any exception but the two above means: refused, and to be tried again later. So does
    ``sys.exit()``: an event cannot end its relay.
    """

    def __init__(
        self, *, source: str, namespace: str, function: str | Callable[[Event], Any]
    ) -> None:
        del source, namespace  # of the envelope, and the function gets the event itself
        self._function = _function(function)

    def open(self) -> None:
        pass

    def send_batch(self, events: Sequence[Event]) -> Sequence[Outcome]:
        # A relay runs for months: a connection of Django's that has died must not stay.
        close_old_connections()
        outcomes = []
        troubled = set()
        is_down = False
        for event in events:
            if is_down or event.key in troubled:
                outcomes.append(HELD)
                continue
            outcome = self._send(event)
            outcomes.append(outcome)
            is_down = outcome.kind is Kind.DOWN
            if outcome.kind is not Kind.DELIVERED:
                troubled.add(event.key)
        close_old_connections()
        return outcomes

    def close(self) -> None:
        pass

    def _send(self, event: Event) -> Outcome:
        try:
            self._function(event)
        except Undeliverable as error:
            return permanent("undeliverable", said(error))
        except Unavailable as error:
            return down("unavailable", said(error), retry_after=error.retry_after)
        except RAISED as error:  # it is the function's, and it decides
            return rejected(type(error).__qualname__, said(error))
        return DELIVERED


def _function(value: Any) -> Callable[[Event], Any]:
    allowed = "a function of one event, or the dotted path of one"
    found = value
    if isinstance(value, str):
        try:
            found = import_string(value)
        except ImportError as error:
            raise options.OptionInvalid(
                f"the option FUNCTION names {value!r}, which cannot be imported ({error})."
            ) from error
    if not callable(found):
        raise options.invalid("function", value, allowed)
    if inspect.iscoroutinefunction(found):
        raise options.OptionInvalid("the option FUNCTION is async; it is a plain function.")
    try:
        inspect.signature(found).bind(None)
    except TypeError as error:
        raise options.OptionInvalid(
            f"the option FUNCTION does not take one event ({error})."
        ) from error
    except ValueError:
        pass  # written in C; whether it fits is seen when it is called
    return found  # type: ignore[no-any-return]
