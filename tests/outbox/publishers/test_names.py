"""Names made from events."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbox.publishers.names import Template, token
from tests.outbox.publishers.events import make_event


class TestTemplate:
    def test_fields(self) -> None:
        event = make_event(version=3)
        template = Template("shop.{aggregate_type}.{event_type}-v{version}.{aggregate_id}")

        assert template.of(event) == f"shop.ORDER.OrderPlaced-v3.{event.aggregate_id}"
        assert template.pattern("*") == "shop.*.*.*"

    def test_no_fields(self) -> None:
        assert Template("shop:events").of(make_event()) == "shop:events"
        assert Template("shop:events").pattern("*") == "shop:events"

    @pytest.mark.parametrize(
        "text",
        [
            "a {event_type}",
            "a.*",
            "a.>",
            "{payload}",
            "{}",
            "{0}",
            "{event_type!r}",
            "{version:d}",
            "{event_type.__class__}",
            "{event_type",
            "żółw",
            "a\nb",
        ],
    )
    def test_what_is_none(self, text: str) -> None:
        with pytest.raises(ValueError, match="It is made of letters, digits"):
            Template(text)


class TestToken:
    @given(st.text(min_size=1))
    def test_nothing_in_it_means_anything(self, text: str) -> None:
        assert re.fullmatch(r"[A-Za-z0-9_~%-]+", token(text))

    @given(st.text(min_size=1), st.text(min_size=1))
    def test_two_texts_are_two_tokens(self, one: str, other: str) -> None:
        assert (token(one) == token(other)) == (one == other)
