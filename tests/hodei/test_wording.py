"""Values as commands say them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest

from hodei.wording import age, counted, iso, moment, moment_of, one_line, short_age, short_id

NOON = datetime(2026, 3, 31, 12, 0, 0, 4_500, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "long", "short"),
    [
        (None, "-", "-"),
        (-5, "0 s", "0 s"),
        (0.4, "0 s", "0 s"),
        (59, "59 s", "59 s"),
        (125, "2 min", "2 min"),
        (3_600, "1 h", "1 h"),
        (12_000, "3 h 20 min", "3 h"),
        (90_061, "1 d 1 h", "1 d"),
        (86_400 * 400 + 120, "400 d 2 min", "400 d"),
    ],
)
def test_ages(seconds: float | None, long: str, short: str) -> None:
    assert (age(seconds), short_age(seconds)) == (long, short)


def test_one_line() -> None:
    assert one_line("a\n  b\tpassword=x") == "a b password=[redacted]"
    assert one_line(None) == one_line(" ") == ""


def test_numbers_have_their_nouns() -> None:
    assert [counted(number, "job") for number in (0, 1, 12_000)] == [
        "0 jobs",
        "1 job",
        "12,000 jobs",
    ]
    assert [counted(number, "entry", "entries") for number in (1, 2)] == ["1 entry", "2 entries"]


def test_times_are_in_utc_wherever_they_come_from() -> None:
    local = NOON.astimezone(timezone(timedelta(hours=2)))

    assert (moment(local), iso(local)) == ("2026-03-31 12:00:00", "2026-03-31T12:00:00.004+00:00")
    assert (moment(None), iso(None)) == ("-", None)
    assert moment_of(str(iso(local))) == "2026-03-31 12:00:00 UTC"


def test_a_short_id_begins_as_the_whole_one() -> None:
    assert short_id(uuid.UUID(int=1 << 127)) == "80000000"
