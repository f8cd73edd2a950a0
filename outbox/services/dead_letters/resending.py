"""Send a changed copy of an event that can never be delivered as it is."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from hodei.redaction import REDACTED
from hodei.sql import statement
from hodei.values import DEEPEST, depth, identifier, shown
from outbox.events import EventInvalid
from outbox.services.dead_letters import acting
from outbox.services.dead_letters.acting import Deed
from outbox.services.dead_letters.refusals import NoSuchDeadLetter
from outbox.services.publish import publish
from outbox.states import DeadLetterAction


def edit_and_resend(
    letter_id: uuid.UUID,
    *,
    payload: Any,
    by: str,
    note: str,
    metadata: Mapping[str, Any] | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> uuid.UUID:
    """Publish a copy with this payload, and return its id, which is a new one.

    Where the aggregate waits behind the dead letter, the copy takes its place: it goes first, and
    what waits follows in order. Otherwise it goes last. It has the metadata of the dead letter, or
    what is given, with the id of the dead event as ``causation_id``, and no idempotency key. The
    dead letter is closed as RESENT. All or nothing: joins the caller's transaction, or owns one.

    Raises a DeadLetterError, EventInvalid for what can be no payload or holds what screens put in
    place of secrets, and ValueError for ``by`` and ``note``.
    """
    if metadata is not None and not isinstance(metadata, Mapping):
        raise EventInvalid(f"metadata is {shown(metadata)}; it is a dict.")
    if identifier(letter_id) is None:
        raise NoSuchDeadLetter(letter_id)
    deed = Deed(action=DeadLetterAction.RESENT, by=by, note=note)
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        locked = acting.lock(cursor, [letter_id])
        if not locked:
            raise NoSuchDeadLetter(letter_id)
        letter = locked[0]
        refused = acting.refusal(letter, deed.action)
        if refused:
            raise refused
        cursor.execute(
            "SELECT event_type, event_version, payload::text, metadata::text FROM outbox_dlq "
            "WHERE id = %s",
            [letter.id],
        )
        event_type, version, old_payload, old_metadata = cursor.fetchone()
        _refuse_redacted("payload", payload, old_payload)
        if metadata is None:
            metadata = _object(old_metadata)
        else:
            _refuse_redacted("metadata", metadata, old_metadata)
        cursor.execute(statement("outbox", "has_key"), {"event_id": letter.event_id})
        takes_its_place = cursor.fetchone() is not None
        copy = publish(
            event_type,
            letter.aggregate_type,
            letter.aggregate_key or letter.aggregate_id,
            payload,
            metadata={**metadata, "causation_id": str(letter.event_id)},
            version=version,
            using=using,
            # Its place is fixed already, so nobody has to be waited for.
            aggregate_locked=takes_its_place,
        )
        asked: dict[str, Any] = {"letter": letter.id, "copy": copy, "in_place": takes_its_place}
        cursor.execute(statement("outbox", "replace_head"), asked)
        cursor.execute(statement("outbox", "place_copy"), asked)
        acting.close(cursor, [letter.id], deed, details=json.dumps({"event_id": str(copy)}))
    return copy


def merge_patch(value: Any, patch: Any) -> Any:
    """Pure: a JSON value changed as RFC 7396 (JSON Merge Patch) says: null takes a key away. Raises
    EventInvalid for a patch that no payload could be made of."""
    if depth(json.dumps(patch)) > DEEPEST:
        raise EventInvalid(f"The changes are nested more than {DEEPEST} levels deep.")
    return _merged(value, patch)


def _merged(value: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    merged = dict(value) if isinstance(value, dict) else {}
    for key, part in patch.items():
        if part is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), part)
    return merged


def _refuse_redacted(what: str, value: Any, before: str | None) -> None:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return  # publish() says what is wrong with it
    if text.count(REDACTED) > (before or "").count(REDACTED):
        raise EventInvalid(
            f"{what} holds {REDACTED!r}, which screens put in place of secrets. Change what is "
            "wrong alone: outbox_dlq resend --patch leaves the rest as it is."
        )


def _object(text: str | None) -> Mapping[str, Any]:
    # The original system may have stored any JSON there.
    found = None if text is None else json.loads(text)
    if found is None:
        return {}
    return found if isinstance(found, dict) else {"value": found}
