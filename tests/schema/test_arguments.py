"""What options of commands take, and what they say of anything else."""

from __future__ import annotations

import uuid
from argparse import ArgumentTypeError
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hodei.schema.management.arguments import id_of, number, past, seconds, whole

ID = uuid.UUID(int=7)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (whole("jobs"), "1", 1),
        (whole("jobs", most=1_000), "1000", 1_000),
        (whole("runs", 0), "0", 0),
        (number("priority", -100, 100), "-100", -100),
        (number("priority", -100, 100), "007", 7),
        (seconds(), "0", 0.0),
        (seconds(), "1.5", 1.5),
        (seconds(0.05, 3600), "3600", 3600.0),
        (id_of("job"), str(ID), ID),
        (past, "2026-03-31T12:00", datetime(2026, 3, 31, 12, tzinfo=UTC)),
    ],
)
def test_what_is_right_is_read(kind: Callable[[str], Any], text: str, value: object) -> None:
    assert kind(text) == value


@pytest.mark.parametrize(
    ("kind", "text", "told"),
    [
        (whole("jobs"), "0", "'0' is no number of jobs; give 1 or more."),
        (whole("jobs", most=1_000), "1001", "'1001' is no number of jobs; give 1 to 1,000."),
        (whole("runs", 0), "-1", "'-1' is no number of runs; give 0 or more."),
        (whole("jobs"), "many", "'many' is no number of jobs; give 1 or more."),
        (whole("jobs"), "1_0", "'1_0' is no number of jobs; give 1 or more."),
        (whole("jobs"), "\N{ARABIC-INDIC DIGIT TWO}", "is no number of jobs"),
        (whole("jobs"), "9" * 5_000, "is no number of jobs; give 1 or more."),
        (number("priority", -100, 100), "101", "'101' is no priority; give -100 to 100."),
        (number("priority", -100, 100), "--1", "'--1' is no priority; give -100 to 100."),
        (number("priority", -100, 100), "1.5", "'1.5' is no priority; give -100 to 100."),
        (number("priority", -100, 100), "", "'' is no priority; give -100 to 100."),
        (number("priority", -(10**6), 10**6), "9" * 5_000, "give -1,000,000 to 1,000,000."),
        (number("priority", -100, 100), "\N{ARABIC-INDIC DIGIT TWO}", "is no priority"),
        (seconds(), "inf", "'inf' is no number of seconds; give 0 or more."),
        (seconds(), "nan", "'nan' is no number of seconds; give 0 or more."),
        (seconds(), "-1", "'-1' is no number of seconds; give 0 or more."),
        (seconds(0.05, 3600), "0.04", "'0.04' is no number of seconds; give 0.05 to 3,600."),
        (seconds(0.05, 3600), "soon", "'soon' is no number of seconds; give 0.05 to 3,600."),
        (seconds(), "9" * 5_000, "is no number of seconds; give 0 or more."),
        (seconds(0, 86_400_000), "1e9", "'1e9' is no number of seconds; give 0 to 86,400,000."),
        (id_of("saga"), "x" * 5_000, "is no id of a saga."),
        (id_of("saga"), "first", "'first' is no id of a saga."),
        (past, "yesterday", "'yesterday' is no time"),
    ],
)
def test_of_anything_else_it_is_said_what_is_allowed(
    kind: Callable[[str], Any], text: str, told: str
) -> None:
    with pytest.raises(ArgumentTypeError) as refused:
        kind(text)

    assert told in str(refused.value)
    assert len(str(refused.value)) < 200


def test_a_span_is_before_this_moment() -> None:
    assert abs(datetime.now(UTC) - timedelta(hours=12) - past("12h")) < timedelta(minutes=1)
