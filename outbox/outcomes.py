"""Pure: what became of an event that a publisher was given."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import NamedTuple

from hodei.redaction import redact_text

#: Characters of a message that are kept.
LONGEST_MESSAGE = 8192
#: Seconds. Who asks to be left alone for longer gets this.
LONGEST_RETRY_AFTER = 86_400.0


#: What the code of others may raise about an event, ``sys.exit()`` among it: none of it is about
#: the relay. An interrupt is nobody's answer.
RAISED = (Exception, SystemExit, GeneratorExit, asyncio.CancelledError)


class Kind(StrEnum):
    """What became of it, and so what the relay does next."""

    #: The destination has it, and has said so.
    DELIVERED = "delivered"
    #: The destination refused this event, and may take it later: an attempt is spent.
    REJECTED = "rejected"
    #: It will never be taken as it is: it becomes a dead letter at once.
    PERMANENT = "permanent"
    #: The destination cannot be reached, or takes nothing from anybody: no attempt is spent.
    DOWN = "down"
    #: Not sent: an earlier event of its key was not delivered, or the transport is down.
    HELD = "held"


class Outcome(NamedTuple):
    """What became of one event."""

    kind: Kind
    #: A short, stable name of the failure (``http_422``, ``message_too_large``), for grouping.
    code: str = ""
    #: What the destination said, for a person.
    message: str = ""
    #: Seconds that the destination asked to be left alone for; None where it did not.
    retry_after: float | None = None

    @property
    def pause(self) -> float:
        """The same as a number that makes sense: 0.0 where it is none, a day at most."""
        asked: object = self.retry_after
        if not isinstance(asked, int | float) or asked != asked:  # noqa: PLR0124  (it is not NaN)
            return 0.0
        return float(min(max(asked, 0.0), LONGEST_RETRY_AFTER))


DELIVERED = Outcome(Kind.DELIVERED)
HELD = Outcome(Kind.HELD)


def is_outcome(found: object) -> bool:
    """Whether a publisher has returned what it should."""
    return isinstance(found, Outcome) and isinstance(found.kind, Kind)


def rejected(code: str, message: str, *, retry_after: float | None = None) -> Outcome:
    return Outcome(Kind.REJECTED, code, _fit_to_store(message), retry_after)


def permanent(code: str, message: str) -> Outcome:
    return Outcome(Kind.PERMANENT, code, _fit_to_store(message))


def down(code: str, message: str, *, retry_after: float | None = None) -> Outcome:
    return Outcome(Kind.DOWN, code, _fit_to_store(message), retry_after)


def _fit_to_store(message: str) -> str:
    """What others have said, without secrets, endless text, and what PostgreSQL cannot store."""
    text = redact_text(message[: 2 * LONGEST_MESSAGE])[:LONGEST_MESSAGE]
    return text.replace("\0", " ").encode("utf-8", "replace").decode()
