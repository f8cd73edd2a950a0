"""Whatever can be published leaves as an event that the schema of CloudEvents takes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbox.conf import read
from outbox.envelope import structured
from outbox.events import check_name, check_version, json_text
from outbox.keys import aggregate_of
from tests.outbox import cloud_events
from tests.outbox.publishers.events import make_event

SETTINGS = read({})
GOOD: dict[str, Any] = json.loads(
    structured(make_event(subject="7"), source="/shop", namespace="example.shop")
)

texts = st.text(min_size=1, max_size=20)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(texts, parts, max_size=3),
    max_leaves=8,
)
of_metadata = st.sampled_from(
    ["correlation_id", "causation_id", "traceparent", "tracestate", "other"]
)


@given(
    event_type=texts,
    aggregate_type=st.text(min_size=1, max_size=20),
    key=texts | st.integers() | st.uuids(),
    idempotency_key=st.none() | texts,
    version=st.integers(1, 2**31 - 1),
    payload=values,
    metadata=st.dictionaries(of_metadata, values, max_size=5),
    at=st.datetimes(
        timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45))]),
        min_value=datetime(1970, 1, 3),  # noqa: DTZ001
        max_value=datetime(9999, 12, 30),  # noqa: DTZ001
    ),
)
def test_what_can_be_published_is_a_cloud_event(
    event_type: str,
    aggregate_type: str,
    key: Any,
    idempotency_key: str | None,
    version: int,
    payload: Any,
    metadata: dict[str, Any],
    at: datetime,
) -> None:
    try:
        aggregate = aggregate_of(check_name("aggregate_type", aggregate_type, 20), key)
        if aggregate.key is not None:
            check_name("aggregate_id", aggregate.key, len(aggregate.key))
        if idempotency_key is not None:
            check_name("idempotency_key", idempotency_key, 100)
        event = make_event(
            aggregate.id,
            event_type=check_name("event_type", event_type, 50),
            version=check_version(version),
            aggregate_type=aggregate.type,
            subject=aggregate.key or str(aggregate.id),
            data=json_text("payload", payload, 100_000),
            metadata=json.loads(json_text("metadata", metadata, 100_000)),
            idempotency_key=idempotency_key,
            created_at=at,
        )
    except ValueError:
        # What cannot be published leaves no event.
        return

    text = structured(event, source=SETTINGS.source, namespace=SETTINGS.namespace)

    found = cloud_events.check(text)
    assert found["data"] == payload
    assert found["id"] == str(event.id)


@pytest.mark.parametrize("subject", ["line\nbreak", "tab\t", "esc\x1b[0m", "c1\x85", "none\ufffe"])
def test_a_character_that_no_attribute_may_have_is_a_space(subject: str) -> None:
    event = make_event(
        event_type=subject,
        subject=subject,
        idempotency_key=subject,
        metadata={"correlation_id": subject},
    )

    found = cloud_events.check(structured(event, source="/shop", namespace="example.shop"))

    spaced = "".join(letter if letter.isprintable() else " " for letter in subject)
    assert found["subject"] == found["idempotencykey"] == spaced
    assert found["type"] == f"example.shop.{spaced}.v1"
    assert found["partitionkey"] == str(event.aggregate_id)


@pytest.mark.parametrize(
    "change",
    [
        *({name: None} for name in ("id", "source", "specversion", "type")),
        *({name: ""} for name in ("id", "source", "type", "subject", "time")),
        {"specversion": "0.3"},
        {"source": "my shop"},
        {"source": "/shop%zz"},
        {"time": "2026-11-05 12:30:00"},
        {"time": "2026-13-05T12:30:00Z"},
        {"subject": "line\nbreak"},
        {"type": "tab\there"},
        {"correlation_id": "x"},
        {"correlationid": {"not": "a text"}},
        {"sequence": 2**40},
    ],
)
def test_the_schema_refuses_what_is_none(change: dict[str, Any]) -> None:
    cloud_events.check(json.dumps(GOOD))

    with pytest.raises(jsonschema.ValidationError):
        cloud_events.check(json.dumps({**GOOD, **change}))


@pytest.mark.parametrize("name", ["id", "source", "specversion", "type"])
def test_the_schema_misses_what_is_needed(name: str) -> None:
    with pytest.raises(jsonschema.ValidationError, match=f"'{name}' is a required property"):
        cloud_events.check(json.dumps({key: value for key, value in GOOD.items() if key != name}))
