"""Dead letters as ``outbox_dlq`` shows them: without secrets, and in lists without content."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from hodei.redaction import redact, redact_text
from hodei.schema.tables import render
from hodei.wording import (
    age,
    counted,
    iso,
    moment,
    one_line,
    short_age,
    short_id,
)
from outbox.services.dead_letters import Action, Detail, Letter, Page
from outbox.services.dead_letters.reading import MOST_FOLLOWERS
from outbox.states import DeadLetterAction, DeadLetterState

FORMAT_VERSION = 1


def table(letters: Sequence[Letter], now: datetime) -> list[str]:
    """The lines of a list of open ones. What holds others back is what to look at first."""
    titles = ["letter", "died", "event type", "aggregate", "class", "tries", "holds", "error"]
    rows = [
        [
            short_id(one.id),
            short_age((now - one.died_at).total_seconds()),
            one.event_type,
            about(one),
            one.error_class or "-",
            str(one.attempts),
            "yes" if one.holds else "-",
            one_line(one.error) or "-",
        ]
        for one in letters
    ]
    return render(titles, rows)


def table_of_ends(letters: Sequence[Letter], now: datetime) -> list[str]:
    """The lines of a list of such as were dealt with, or of both kinds."""
    titles = ["letter", "state", "by", "died", "event type", "aggregate", "class", "why"]
    rows = [
        [
            short_id(one.id),
            one.state.lower(),
            one.resolved_by or "-",
            short_age((now - one.died_at).total_seconds()),
            one.event_type,
            about(one),
            one.error_class or "-",
            one_line(one.note) or "-",
        ]
        for one in letters
    ]
    return render(titles, rows)


def about(letter: Letter) -> str:
    """``ORDER 4711``, or the first digits of its UUID."""
    return f"{letter.aggregate_type} {letter.aggregate_key or short_id(letter.aggregate_id)}"


def whole(detail: Detail, now: datetime) -> Iterator[str]:
    """The lines of one: what it is, what is wrong, what waits, what was done, and its content."""
    one = detail.letter
    since = age((now - (one.resolved_at or one.died_at)).total_seconds())
    by = f" by {one.resolved_by}" if one.resolved_by else ""
    yield f"dead letter: {one.id}"
    yield f"state: {one.state.lower()}{by}, for {since}"
    copy = next((_copy(action) for action in reversed(detail.actions) if _copy(action)), None)
    if copy and one.state is DeadLetterState.RESENT:
        yield f"copy: event {copy}"
    yield f"event: {one.event_type} v{one.event_version}, {_row(detail)}"
    yield f"event id: {one.event_id}"
    key = f" ({one.aggregate_id})" if one.aggregate_key else ""
    yield f"aggregate: {one.aggregate_type} {one.aggregate_key or one.aggregate_id}{key}"
    yield f"destination: {one.destination}"
    yield f"written: {moment(one.created_at)} UTC, with the number {one.seq or 'unknown'}"
    yield f"died: {moment(one.died_at)} UTC, after {counted(one.attempts, 'attempt')}"
    yield f"requeued: {counted(one.requeues, 'time')}"
    if detail.idempotency_key:
        yield f"idempotency key: {detail.idempotency_key}"
    yield f"fingerprint: {one.fingerprint or '-'}"
    yield f"error class: {one.error_class or '-'}"
    yield f"error: {redact_text(one.error)}"
    yield from _waiting(detail)
    yield ""
    yield from render(
        ["when (UTC)", "action", "by", "why"],
        [
            [moment(action.at), action.action.lower(), action.actor, one_line(action.note) or "-"]
            for action in detail.actions
        ],
    )
    for name, value in (("payload", detail.payload), ("metadata", detail.metadata)):
        if value is not None:
            yield f"\n{name}:"
            yield json.dumps(redact(value), indent=2, ensure_ascii=False)


def _copy(action: Action) -> str | None:
    """The event that was sent in place of the dead one."""
    is_resent = action.action is DeadLetterAction.RESENT and isinstance(action.details, dict)
    return action.details.get("event_id") if is_resent else None


def _row(detail: Detail) -> str:
    if detail.event_status is None:
        return "gone (a requeue makes it again)"
    return detail.event_status


def _waiting(detail: Detail) -> Iterator[str]:
    one = detail.letter
    if one.holds:
        number = detail.followers
        more = "more than " if number >= MOST_FOLLOWERS else ""
        verb = "waits" if number == 1 else "wait"
        yield f"holds back: {more}{counted(number, 'event')} of its aggregate {verb} behind it"
    elif detail.waits_behind is not None and one.state is DeadLetterState.OPEN:
        yield f"behind: its aggregate waits behind event {detail.waits_behind}"


def list_document(database: str, page: Page, cursor: str | None) -> dict[str, object]:
    """The JSON of a list; docs/reference/outbox_dlq.md has its keys."""
    return {
        "format_version": FORMAT_VERSION,
        "database": database,
        "dead_letters": [letter_document(one) for one in page.letters],
        "next": cursor,
    }


def detail_document(database: str, detail: Detail) -> dict[str, object]:
    """The JSON of one."""
    return {
        "format_version": FORMAT_VERSION,
        "database": database,
        "dead_letter": {
            **letter_document(detail.letter),
            "idempotency_key": detail.idempotency_key,
            "payload": redact(detail.payload),
            "metadata": redact(detail.metadata),
            "event_status": detail.event_status,
            "followers": detail.followers,
            "waits_behind": detail.waits_behind and str(detail.waits_behind),
            "actions": [_action_document(action) for action in detail.actions],
        },
    }


def letter_document(one: Letter) -> dict[str, object]:
    return {
        "id": str(one.id),
        "event_id": str(one.event_id),
        "state": one.state.value,
        "event_type": one.event_type,
        "event_version": one.event_version,
        "aggregate_type": one.aggregate_type,
        "aggregate_id": str(one.aggregate_id),
        "aggregate_key": one.aggregate_key,
        "destination": one.destination,
        "seq": one.seq,
        "error_class": one.error_class,
        "error": redact_text(one.error),
        "attempts": one.attempts,
        "fingerprint": one.fingerprint,
        "created_at": iso(one.created_at),
        "died_at": iso(one.died_at),
        "resolved_at": iso(one.resolved_at),
        "resolved_by": one.resolved_by,
        "note": one.note and redact_text(one.note),
        "requeues": one.requeues,
        "holds": one.holds,
    }


def _action_document(action: Action) -> dict[str, Any]:
    return {
        "action": action.action.value,
        "by": action.actor,
        "at": iso(action.at),
        "note": action.note and redact_text(action.note),
        "batch_id": action.batch_id and str(action.batch_id),
        "details": redact(action.details),
    }
