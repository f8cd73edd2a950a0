"""What happened and who did it: rows that nobody changes."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections

from hodei.compat import uuid7
from hodei.redaction import redact

SYSTEM = "system"


def record(
    event_type: str,
    payload: Mapping[str, Any],
    *,
    actor: str = SYSTEM,
    correlation_id: str | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> uuid.UUID:
    """Store one record, secrets redacted; returns its id. Joins the caller's transaction."""
    found = uuid7()
    with connections[using].cursor() as cursor:
        cursor.execute(
            "INSERT INTO audit_logs (id, correlation_id, event_type, payload, occurred_at, actor) "
            "VALUES (%s, %s, %s, %s::jsonb, clock_timestamp(), %s)",
            [found, correlation_id, event_type, json.dumps(redact(dict(payload))), actor[:255]],
        )
    return found
