"""The picture of the last hour, and what it says."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from hodei.admin.charts import HEIGHT, Drawing, draw, summary_of
from hodei.admin.parts import Chart
from hodei.minutes import MOST, Minute, minutes_of

BEGAN = datetime(2026, 1, 15, 11, 1, tzinfo=UTC)


def hour(**numbers: dict[str, int]) -> list[Minute]:
    """Sixty minutes; ``m7`` is the eighth of them."""
    return [
        Minute(BEGAN + timedelta(minutes=place), numbers.get(f"m{place}", {}))
        for place in range(60)
    ]


def drawn(minutes: list[Minute]) -> Drawing:
    series = {"done": "good", "lost": "bad"}
    return draw(Chart(title="Things, by minute", model="jobs.Job", series=series, minutes=minutes))


def bars(drawing: Drawing) -> list[tuple[str, int, float, float]]:
    """Tone, place, top and height of each."""
    return [
        (tone, int(x), float(y), float(height))
        for tone, x, y, height in re.findall(
            r'hodei-(\w+)" x="(\d+)" y="([\d.]+)" width="\d+" height="([\d.]+)"', drawing.svg
        )
    ]


def test_the_highest_bar_has_the_whole_height_and_parts_stand_on_one_another() -> None:
    found = bars(drawn(hour(m0={"done": 5}, m2={"done": 6, "lost": 4})))

    assert found == [
        ("good", 1, HEIGHT / 2, HEIGHT / 2),
        ("good", 25, 40, 60),
        ("bad", 25, 0, 40),
    ]


def test_the_same_is_said_in_words() -> None:
    found = drawn(hour(m0={"done": 5}, m2={"done": 6, "lost": 4}))

    assert found.summary == "15 in the last hour; the most in a minute were 10, at 11:03."
    assert f'role="img" aria-label="Things, by minute. {found.summary}"' in found.svg
    assert found.rows == [("11:03", [6, 4], "10"), ("11:01", [5, 0], "5")]
    assert (found.top, found.times) == ("10", ["11:01", "11:31", "12:00"])


def test_where_counting_stopped_it_says_so() -> None:
    found = drawn(hour(m0={"done": MOST}, m1={"done": 3}))

    assert found.summary == (
        f"{MOST + 3} or more in the last hour; the most in a minute were {MOST} or more, at 11:01."
    )
    assert found.rows[1] == ("11:01", [MOST, 0], f"{MOST} or more")


@pytest.mark.parametrize("minutes", [[], hour()], ids=["no minutes", "an empty hour"])
def test_of_nothing(minutes: list[Minute]) -> None:
    found = drawn(minutes)

    assert summary_of(minutes) == found.summary == "None in the last hour."
    assert bars(found) == found.rows == []


def test_rows_become_minutes() -> None:
    then = BEGAN + timedelta(minutes=1)

    found = minutes_of([(BEGAN, None, 0), (then, "done", 2), (then, "lost", 1)])

    assert [(one.began, one.numbers, one.total) for one in found] == [
        (BEGAN, {}, 0),
        (then, {"done": 2, "lost": 1}, 3),
    ]
