"""Pure: an event as CloudEvents 1.0, whole as JSON or as attributes beside the payload.

Specification: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md with the
extensions partitioning, sequence and distributed tracing. Names of attributes are lower case
letters and digits alone, and their values have no character that the specification does not allow.
"""

from __future__ import annotations

import json
import re
from datetime import UTC
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from outbox.events import Event

CONTENT_TYPE = "application/cloudevents+json"
DATA_CONTENT_TYPE = "application/json"

#: Metadata of an event that are attributes, and the names these have.
_FROM_METADATA = {
    "correlation_id": "correlationid",
    "causation_id": "causationid",
    "traceparent": "traceparent",
    "tracestate": "tracestate",
}

#: The last two of each plane of Unicode are no characters at all.
_LAST = "".join(chr(plane + 0xFFFE) + chr(plane + 0xFFFF) for plane in range(0, 0x110000, 0x10000))
#: Nor are some others; and control characters mean nothing that all agree on.
_NOT_ALLOWED = re.compile(f"[\x00-\x1f\x7f-\x9f\ufdd0-\ufdef{_LAST}]")

#: Made once: json.dumps would make an encoder for every event.
_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def attributes(event: Event, *, source: str, namespace: str) -> dict[str, str]:
    """The context attributes, all of them texts; without the data.

    ``source`` is a URI reference of the project, ``namespace`` a reversed domain name or a word.
    """
    found = {
        "specversion": "1.0",
        "id": str(event.id),
        "source": _source(source, event.aggregate_type),
        "type": f"{namespace}.{_allowed(event.event_type)}.v{event.version}",
        "subject": _allowed(event.subject),
        "time": event.created_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "datacontenttype": DATA_CONTENT_TYPE,
        "partitionkey": str(event.aggregate_id),
        # Of the same length, so that they sort as texts.
        "sequence": f"{event.seq:020d}",
    }
    if event.idempotency_key is not None:
        found["idempotencykey"] = _allowed(event.idempotency_key)
    if event.metadata:
        for name, attribute in _FROM_METADATA.items():
            value = event.metadata.get(name)
            if value is not None and not isinstance(value, dict | list):
                found[attribute] = _one_line(value)
    return found


def structured(event: Event, *, source: str, namespace: str) -> str:
    """The whole event as one JSON text; the payload is taken over as it is, unparsed."""
    head = _to_json(attributes(event, source=source, namespace=namespace))
    return f'{head[:-1]},"data":{event.data}}}'


@lru_cache(maxsize=1024)
def _source(source: str, aggregate_type: str) -> str:
    return f"{source}/{quote(aggregate_type, safe='')}"


def _one_line(value: Any) -> str:
    # An attribute may become a header, and a header has one line.
    return _allowed(" ".join(str(value).split()))


def _allowed(text: str) -> str:
    """With a space for each character that no attribute may have."""
    return text if text.isprintable() else _NOT_ALLOWED.sub(" ", text)
