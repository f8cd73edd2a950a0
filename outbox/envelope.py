"""Pure: an event as CloudEvents 1.0, whole as JSON or as attributes beside the payload.

Specification: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md with the
extensions partitioning, sequence and distributed tracing. Names of attributes are lower case
letters and digits alone.
"""

from __future__ import annotations

import json
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
        "type": f"{namespace}.{event.event_type}.v{event.version}",
        "subject": event.subject,
        "time": event.created_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "datacontenttype": DATA_CONTENT_TYPE,
        "partitionkey": str(event.aggregate_id),
        # Of the same length, so that they sort as texts.
        "sequence": f"{event.seq:020d}",
    }
    if event.idempotency_key is not None:
        found["idempotencykey"] = event.idempotency_key
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
    return " ".join(str(value).split())
