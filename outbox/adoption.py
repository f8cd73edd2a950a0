"""The past of these tables: what the original's older releases and its own code made of them.

For ``schema_adopt``, which runs it and knows none of it. Every rule is in
docs/reference/schema_adopt.md.
"""

from __future__ import annotations

from hodei.schema.adoption.variants import Adoption

ADOPTION = Adoption(
    # Lists of aggregate types without SAGA, or without any: head leaves them to the application.
    relaxed={
        "outbox_events.outbox_events_aggregate_type_check": None,
        "outbox_dlq.outbox_dlq_aggregate_type_check": None,
    },
    # Of files of the original that were applied by hand; both repeat another index.
    obsolete_indexes={
        "outbox_events": frozenset({"idx_outbox_events_pending", "idx_outbox_events_idempotency"}),
    },
)
