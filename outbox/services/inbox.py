"""Act once on an event that may be delivered twice: a row in the transaction of the effect.

    with transaction.atomic():
        with inbox.once("billing", event_id) as first:
            if first:
                Invoice.objects.create(...)

or, for a function that takes the event's id first:

    @inbox.once_each("billing")
    def bill(event_id, order_id): ...
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar

from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.transaction import TransactionManagementError

from hodei.values import shown, unstorable

LONGEST_CONSUMER = 100
LONGEST_EVENT_ID = 255

_P = ParamSpec("_P")
_R = TypeVar("_R")


@contextmanager
def once(
    consumer: str, event_id: uuid.UUID | str, *, using: str = DEFAULT_DB_ALIAS
) -> Iterator[bool]:
    """Yield whether this consumer sees the event for the first time; in the caller's transaction.

    A second delivery at the same moment waits until the first one's transaction has ended: if that
    was rolled back, the second is the first. Raises TransactionManagementError outside of a
    transaction, and ValueError for names that cannot be stored.
    """
    connection = connections[using]
    if not connection.in_atomic_block:
        raise TransactionManagementError(
            "inbox.once() belongs into the transaction of the effect: open transaction.atomic() "
            "around both."
        )
    name = _checked("consumer", consumer, LONGEST_CONSUMER)
    event = _checked("event_id", _written(event_id), LONGEST_EVENT_ID)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO outbox_inbox (consumer, event_id) VALUES (%s, %s) "
            "ON CONFLICT (consumer, event_id) DO NOTHING",
            [name, event],
        )
        first = cursor.rowcount == 1
    yield first


def once_each(
    consumer: str, *, using: str = DEFAULT_DB_ALIAS
) -> Callable[[Callable[Concatenate[Any, _P], _R]], Callable[Concatenate[Any, _P], _R | None]]:
    """Decorate a function whose first argument is an event's id: it runs in a transaction, once for
    each event; a second call for the same event returns None."""

    def decorate(
        run: Callable[Concatenate[Any, _P], _R],
    ) -> Callable[Concatenate[Any, _P], _R | None]:
        @functools.wraps(run)
        def wrapped(event_id: Any, /, *args: _P.args, **options: _P.kwargs) -> _R | None:
            with transaction.atomic(using=using), once(consumer, event_id, using=using) as first:
                return run(event_id, *args, **options) if first else None

        return wrapped

    return decorate


def _written(event_id: object) -> object:
    """An id as a text; a number, too."""
    is_number = isinstance(event_id, int) and abs(event_id) < 10**LONGEST_EVENT_ID
    return str(event_id) if is_number or isinstance(event_id, uuid.UUID) else event_id


def _checked(what: str, text: object, longest: int) -> str:
    if not isinstance(text, str) or not 1 <= len(text) <= longest:
        raise ValueError(f"{what} is {shown(text)}; it is a text of 1 to {longest} characters.")
    wrong = unstorable(text)
    if wrong is not None:
        raise ValueError(f"{what} {wrong}.")
    return text
