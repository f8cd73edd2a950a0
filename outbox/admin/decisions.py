"""What a person may decide about dead letters, and when."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any

from django.db.models import QuerySet

from hodei.admin.actions import Action, OutputField
from outbox.events import EventInvalid
from outbox.services import dead_letters
from outbox.services.dead_letters import DeadLetterError, Deed, Done
from outbox.services.dead_letters.acting import act
from outbox.services.dead_letters.resending import merge_patch
from outbox.states import DeadLetterAction

_COMMON: dict[str, Any] = {
    "permission": "outbox.operate_deadletter",
    "refusals": (DeadLetterError, ValueError),
}
#: Ends of dead letters that nobody can take back: the event has gone on.
_SENT = {DeadLetterAction.REQUEUED, DeadLetterAction.RESENT}


def _by(act: Callable[..., Done], said: str) -> Callable[..., str]:
    """The service in the words of the others."""

    def perform(letter: uuid.UUID, *, reason: str, actor: str, using: str) -> str:
        done = act(letter, by=actor, note=reason, using=using)
        if done.waits_behind is not None:
            return f"{said} It waits behind event {done.waits_behind}, which goes first."
        return said

    return perform


def _with_all(action: DeadLetterAction) -> Callable[..., tuple[list[uuid.UUID], list[str]]]:
    """The service for many, as a portion of ``act_where``."""

    def perform(
        letters: Sequence[uuid.UUID], *, reason: str, actor: str, batch: uuid.UUID, using: str
    ) -> tuple[list[uuid.UUID], list[str]]:
        deed = Deed(action=action, by=actor, note=reason, batch_id=batch)
        done, refused = act(letters, deed, using)
        return [one.letter_id for one in done], [str(why) for why in refused]

    return perform


def _are_open(rows: QuerySet[Any]) -> QuerySet[Any]:
    return rows.filter(resolved_at__isnull=True)


def _can_be_restored(rows: QuerySet[Any]) -> QuerySet[Any]:
    sent = [action.value for action in _SENT]
    return rows.filter(resolved_at__isnull=False).exclude(newest_action__in=sent)


def _resend(letter: uuid.UUID, *, changes: Any, reason: str, actor: str, using: str) -> str:
    if not isinstance(changes, dict):
        raise EventInvalid(f"The changes are {changes!r}; they are a JSON object.")
    payload = merge_patch(dead_letters.get(letter, using=using).payload, changes)
    copy = dead_letters.edit_and_resend(letter, payload=payload, by=actor, note=reason, using=using)
    return f"Resent: its changed copy is event {copy}."


def _changes() -> OutputField:
    return OutputField(
        help_text="What is to be different in the payload, as a JSON object; null takes a key "
        "away, and the rest stays as it is, secrets included (RFC 7396)."
    )


LETTER_ACTIONS = (
    Action(
        name="requeue",
        label="Requeue",
        done="requeued",
        about="The event is sent on its way again, in its old place. What waits behind it follows "
        "in order.",
        perform=_by(dead_letters.requeue, "Requeued: the event is on its way again."),
        among=_are_open,
        perform_many=_with_all(DeadLetterAction.REQUEUED),
        **_COMMON,
    ),
    Action(
        name="resolve",
        label="Resolve",
        done="resolved",
        about="What the event tells of was brought about by other means. It is not sent, and what "
        "waits behind it goes on.",
        perform=_by(dead_letters.resolve, "Resolved: the event is not sent."),
        among=_are_open,
        perform_many=_with_all(DeadLetterAction.RESOLVED),
        **_COMMON,
    ),
    Action(
        name="discard",
        label="Discard",
        done="discarded",
        about="Nobody needs the event any more. It is not sent, and what waits behind it goes on.",
        perform=_by(dead_letters.discard, "Discarded: the event is not sent."),
        among=_are_open,
        perform_many=_with_all(DeadLetterAction.DISCARDED),
        **_COMMON,
    ),
    Action(
        name="resend",
        label="Resend changed",
        done="resent",
        about="A copy with another payload is sent in its place, under an id of its own. What "
        "waits behind it follows the copy, in order.",
        perform=_resend,
        fields={"changes": _changes},
        many=False,
        **{**_COMMON, "permission": "outbox.resend_deadletter"},
    ),
    Action(
        name="restore",
        label="Restore",
        done="open again",
        about="A dead letter that was resolved or discarded is open again. What waited behind it "
        "has gone on, and is not called back.",
        perform=_by(dead_letters.restore, "Restored: it is open again."),
        among=_can_be_restored,
        perform_many=_with_all(DeadLetterAction.RESTORED),
        **_COMMON,
    ),
)


def judge_letter(action: Action, row: Any, _part: str | None) -> str | None:
    """By whether somebody has dealt with it, and how."""
    if row.resolved_at is None:
        return "It is open; there is nothing to restore." if action.name == "restore" else None
    if action.name != "restore":
        return f"It was dealt with by {row.resolved_by or 'somebody'} already."
    if row.newest_action not in _SENT:
        return None
    return f"It was {row.newest_action.lower()}, and that cannot be taken back."
