"""Keys, envelope, settings, breaker and fingerprints: rules without a database."""

from __future__ import annotations

import dataclasses
import json
import re
import uuid
from datetime import datetime, timedelta, timezone
from random import Random
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from hypothesis import given
from hypothesis import strategies as st

from outbox.breaker import PAUSES, Breaker
from outbox.conf import PARK, read
from outbox.envelope import attributes, structured
from outbox.events import EventInvalid, json_text
from outbox.fingerprint import LONGEST_ERROR, fingerprint, storable
from outbox.keys import aggregate_of, lane_of
from outbox.lanes import fair_share
from outbox.states import BreakerState
from tests.outbox.test_relay.kit import make

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(st.text(), parts, max_size=4),
    max_leaves=20,
)


class TestKeys:
    def test_a_uuid_is_itself(self) -> None:
        key = uuid.uuid4()

        assert aggregate_of("JOB", key) == ("JOB", key, None)
        assert aggregate_of("JOB", str(key)) == ("JOB", key, None)

    def test_the_id_of_a_key_never_changes(self) -> None:
        """It is part of the data of everybody who publishes."""
        assert str(aggregate_of("ORDER", 7).id) == "8e596c2b-77cc-535c-8862-636a0b5fe872"

    @given(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=50)
        | st.integers()
    )
    def test_one_key_is_one_aggregate_of_each_type(self, key: str | int) -> None:
        job, order = aggregate_of("JOB", key), aggregate_of("ORDER", key)

        assert job == aggregate_of("JOB", key)
        assert job.id != order.id or job.key is None
        assert 0 <= job.lane == lane_of(job.id) <= 63


class TestJson:
    @given(json_values)
    def test_what_json_can_hold_comes_back(self, value: Any) -> None:
        try:
            text = json_text("payload", value, 10_000)
        except EventInvalid as error:
            words = str(error)
            assert "NUL" in words or "surrogate" in words or "bytes" in words
        else:
            assert json.loads(text) == value
            assert "\0" not in text

    def test_the_limit_is_in_bytes(self) -> None:
        assert json_text("payload", "é" * 4, 10) == '"éééé"'
        with pytest.raises(EventInvalid, match="has 12 bytes as JSON; at most 10 are allowed"):
            json_text("payload", "é" * 5, 10)


class TestEnvelope:
    event = dataclasses.replace(
        make(1, 42),
        metadata={
            "correlation_id": "c\n1",
            "traceparent": "00-abc-def-01",
            "causation_id": 7,
            "tracestate": {"no": "text"},
            "other": "stays inside",
        },
        idempotency_key="k",
        created_at=datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=2))),
        aggregate_type="PURCHASE ORDER",
    )

    def test_has_the_attributes_of_the_specification(self) -> None:
        assert attributes(self.event, source="/shop", namespace="example.shop") == {
            "specversion": "1.0",
            "id": str(self.event.id),
            "source": "/shop/PURCHASE%20ORDER",
            "type": "example.shop.Counted.v1",
            "subject": "x",
            "time": "2026-03-01T10:00:00Z",
            "datacontenttype": "application/json",
            "partitionkey": str(uuid.UUID(int=1)),
            "sequence": "00000000000000000042",
            "idempotencykey": "k",
            "correlationid": "c 1",
            "causationid": "7",
            "traceparent": "00-abc-def-01",
        }

    def test_names_are_lower_case_letters_and_digits(self) -> None:
        for name in attributes(self.event, source="/shop", namespace="shop"):
            assert re.fullmatch(r"[a-z0-9]{1,20}", name)

    @given(json_values)
    def test_the_payload_is_taken_over_as_it_is(self, value: Any) -> None:
        event = dataclasses.replace(self.event, data=json.dumps(value))

        found = json.loads(structured(event, source="/shop", namespace="shop"))

        assert found.pop("data") == value
        assert found == attributes(event, source="/shop", namespace="shop")


class TestSettings:
    def test_without_any_there_is_the_console(self) -> None:
        found = read({})

        assert found.destinations["default"].publisher.endswith("ConsolePublisher")
        assert found.destinations["default"].on_death == PARK
        assert found.aggregate_types == {"JOB", "WORKER", "PROVIDER", "SAGA"}
        assert found.destination_of("Anything") == "default"

    def test_the_first_route_that_fits_is_taken(self) -> None:
        found = read(
            {
                "DESTINATIONS": {"a": {"PUBLISHER": "x"}, "b": {"PUBLISHER": "y"}},
                "ROUTES": {"Invoice*": "a", "*Paid": "b"},
            }
        )

        names = ("InvoicePaid", "OrderPaid", "OrderMade")
        assert [found.destination_of(name) for name in names] == ["a", "b", "default"]

    @pytest.mark.parametrize(
        ("given_", "told"),
        [
            ([], r"HODEI_OUTBOX is \[\]; it is a dict"),
            ({"DESTINATION": {}}, "has a key 'DESTINATION'; it knows DESTINATIONS, ROUTES"),
            ({"ROUTES": []}, r"HODEI_OUTBOX\['ROUTES'\] is \[\]; it is a dict"),
            ({"ROUTES": {"x": "nowhere"}}, "'nowhere'; it is one of 'default'"),
            ({"DESTINATIONS": {"a": {}}}, r"\['a'\] has no PUBLISHER"),
            ({"DESTINATIONS": {"a": "x"}}, "it is a dict with"),
            ({"DESTINATIONS": {"a" * 51: {}}}, "a text of 1 to 50 characters"),
            ({"DESTINATIONS": {"a": {"PUBLISHER": "x", "MAX_ATTEMPTS": 0}}}, "is 0; it is 1 to"),
            ({"DESTINATIONS": {"a": {"PUBLISHER": "x", "ON_DEATH": "cry"}}}, "'park' or 'skip'"),
            ({"AGGREGATE_TYPES": ["x" * 21]}, "texts of 1 to 20 characters"),
            ({"AGGREGATE_TYPES": "JOB"}, "is 'JOB'; it is a list"),
            ({"MAX_PAYLOAD_BYTES": 0}, "is 0; it is 1 to 16777216"),
            ({"MAX_PAYLOAD_BYTES": True}, "is True"),
            ({"SOURCE": "my shop"}, "is 'my shop'; it is a URI reference without a query, like"),
            ({"SOURCE": "/shop%2"}, "is '/shop%2'; it is a URI reference"),
            ({"SOURCE": "/läden"}, "is '/läden'; it is a URI reference"),
            ({"NAMESPACE": ""}, r"is ''; it is letters, digits, '_', '-' and dots between them"),
            ({"NAMESPACE": "example..shop"}, "is 'example..shop'; it is letters"),
            ({"NAMESPACE": "a\n"}, r"is 'a\\n'; it is letters"),
        ],
    )
    def test_what_is_wrong_is_told(self, given_: Any, told: str) -> None:
        with pytest.raises(ImproperlyConfigured, match=told):
            read(given_)


class TestBreaker:
    def test_waits_longer_each_time_and_forgets_when_it_works(self) -> None:
        breaker = Breaker(Random(1))
        now = 100.0
        for failures in range(1, 12):
            breaker.down(now, "refused")
            left = breaker.left(now)
            assert PAUSES.longest(failures) / 10 <= left <= PAUSES.longest(failures) <= PAUSES.cap
            assert breaker.is_probing
            now += left
            assert breaker.left(now) == 0.0
        breaker.up()

        assert (breaker.state, breaker.error, breaker.left(now)) == (BreakerState.CLOSED, None, 0.0)
        breaker.down(now, "again")
        assert breaker.left(now) <= PAUSES.longest(1)

    def test_leaves_alone_who_asks_for_it(self) -> None:
        breaker = Breaker(Random(1))
        breaker.down(0.0, "503", retry_after=120.0)

        assert breaker.left(0.0) == 120.0


class TestFingerprint:
    def same(self, first: str, second: str) -> bool:
        return fingerprint("d", "E", "c", first) == fingerprint("d", "E", "c", second)

    def test_ids_numbers_and_quoted_texts_do_not_count(self) -> None:
        assert self.same(f"job {uuid.uuid4()} is gone", f"job {uuid.uuid4()}  is gone")
        assert self.same("HTTP 422 at 12:31", "HTTP 422 at 12:59")
        assert self.same("name 'anna' is taken", "name 'bert' is taken")
        assert self.same("at 0xdeadbeef", "at 0xcafe")

    def test_other_words_do(self) -> None:
        assert not self.same("is gone", "is taken")
        assert fingerprint("d", "E", "c", "x") != fingerprint("d", "F", "c", "x")

    def test_texts_that_cannot_be_stored_are_made_storable(self) -> None:
        text = storable("a\0b\ud800c password=hunter2 " + "x" * 10_000)

        assert len(text) == LONGEST_ERROR
        assert text.startswith("a\N{REPLACEMENT CHARACTER}b?c password=[redacted] ")
        assert len(fingerprint("d", "E", "c", "\ud800" * 100)) == 64


@pytest.mark.parametrize(
    ("relays", "most", "share"), [(1, 64, 64), (2, 64, 32), (3, 64, 22), (100, 64, 1), (1, 5, 5)]
)
def test_lanes_are_shared(relays: int, most: int, share: int) -> None:
    assert fair_share(relays, most) == share
    assert relays * fair_share(relays, 64) >= 64
