"""Pure: why an action on a dead letter was refused. Nothing was changed then."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

from hodei.values import named, shown
from outbox.states import DeadLetterState


class DeadLetterError(Exception):
    """An action on a dead letter was refused. The text is for an operator."""


class NoSuchDeadLetter(DeadLetterError):  # noqa: N818  (each reads as the fact it states)
    """No dead letter and no event of a dead letter has this id."""

    def __init__(self, word: object) -> None:
        self.word = word if isinstance(word, str) else named(word)
        super().__init__(
            f"There is no dead letter {shown(self.word)}: neither is it one's id or its "
            "beginning, nor the id of a dead event. outbox_dlq list shows what there is."
        )


class AlreadyDealtWith(DeadLetterError):  # noqa: N818
    """Somebody was faster. ``state`` tells what was done, ``by`` and ``at`` who did it and when."""

    def __init__(
        self, letter_id: uuid.UUID, state: DeadLetterState, by: str, at: datetime, note: str | None
    ) -> None:
        self.letter_id = letter_id
        self.state = state
        self.by = by
        self.at = at
        self.note = note
        reason = f" ({note})" if note else ""
        super().__init__(
            f"Dead letter {letter_id} was {state.lower()} by {by} at "
            f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC{reason}. Nothing was changed."
        )


class NotClosed(DeadLetterError):  # noqa: N818
    """Only what was discarded or resolved can be restored."""

    def __init__(self, letter_id: uuid.UUID) -> None:
        self.letter_id = letter_id
        super().__init__(f"Dead letter {letter_id} is open: there is nothing to restore.")


class AlreadyPublished(DeadLetterError):  # noqa: N818
    """The event of the dead letter was delivered after all."""

    def __init__(self, letter_id: uuid.UUID, event_id: uuid.UUID, at: datetime | None) -> None:
        self.letter_id = letter_id
        self.event_id = event_id
        when = f" at {at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if at else ""
        super().__init__(
            f"Event {event_id} of dead letter {letter_id} was published{when}: to send it again "
            "would repeat it. Resolve the dead letter."
        )


class IdempotencyKeyTaken(DeadLetterError):  # noqa: N818
    """The event is gone, and another has been published under its idempotency key meanwhile."""

    def __init__(self, letter_id: uuid.UUID, key: str, other: uuid.UUID) -> None:
        self.letter_id = letter_id
        self.other = other
        super().__init__(
            f"The event of dead letter {letter_id} is gone, and event {other} has its idempotency "
            f"key {key!r} by now: to send it would be to say the same thing twice. Resolve the "
            "dead letter."
        )
