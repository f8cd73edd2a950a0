"""What people do with events that could not be delivered.

- ``list_letters``, ``get``, ``identify``, ``stats``  see what is stuck and why
- ``requeue``           send it on its way again: the same event, in its old place
- ``resolve``           what it tells of was brought about by other means
- ``discard``           nobody needs to know any more; ``restore`` takes either of these two back
- ``edit_and_resend``   a changed copy takes its place
- ``act_where``         one of the first four for all that match a filter; ``requeue_where`` is the
                        one that is wanted most

Each action is done once, by one person, and is a row of ``outbox_dlq_actions`` with who, when and
why. What waits behind a dead letter goes on, in order, after any of them but ``restore``.

Modules: ``refusals`` what can be wrong, ``filters`` which dead letters are meant, ``reading``,
``acting``, ``resending`` and ``bulk``.
"""

from __future__ import annotations

from outbox.services.dead_letters.acting import Deed, Done, discard, requeue, resolve, restore
from outbox.services.dead_letters.bulk import (
    BulkResult,
    Preview,
    act_where,
    preview,
    requeue_where,
)
from outbox.services.dead_letters.filters import LetterFilter
from outbox.services.dead_letters.reading import (
    Action,
    Cursor,
    DeadLetterStats,
    Detail,
    Failures,
    Letter,
    Page,
    get,
    identify,
    list_letters,
    stats,
)
from outbox.services.dead_letters.refusals import (
    AlreadyDealtWith,
    AlreadyPublished,
    DeadLetterError,
    IdempotencyKeyTaken,
    NoSuchDeadLetter,
    NotClosed,
)
from outbox.services.dead_letters.resending import edit_and_resend

__all__ = [
    "Action",
    "AlreadyDealtWith",
    "AlreadyPublished",
    "BulkResult",
    "Cursor",
    "DeadLetterError",
    "DeadLetterStats",
    "Deed",
    "Detail",
    "Done",
    "Failures",
    "IdempotencyKeyTaken",
    "Letter",
    "LetterFilter",
    "NoSuchDeadLetter",
    "NotClosed",
    "Page",
    "Preview",
    "act_where",
    "discard",
    "edit_and_resend",
    "get",
    "identify",
    "list_letters",
    "preview",
    "requeue",
    "requeue_where",
    "resolve",
    "restore",
    "stats",
]
