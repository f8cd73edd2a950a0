from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice, pairwise, takewhile
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import cron
from jobs.due import MOST_AT_ONCE, Due, decide
from jobs.states import Missed


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def some(expression: str, zone: str, after: str, number: int = 3) -> list[str]:
    found = islice(cron.times(expression, zone, after=at(after)), number)
    return [instant.strftime("%m-%d %H:%M") for instant in found]


class TestCron:
    def test_times_are_local(self) -> None:
        assert some("0 9 * * MON", "America/New_York", "2026-01-01T00:00", 2) == [
            "01-05 14:00",
            "01-12 14:00",
        ]

    def test_spring_forward_a_skipped_time_runs_once(self) -> None:
        # Madrid, 2026-03-29: 02:00 becomes 03:00, at 01:00 UTC.
        assert some("30 2 * * *", "Europe/Madrid", "2026-03-27T12:00") == [
            "03-28 01:30",
            "03-29 01:00",
            "03-30 00:30",
        ]

    def test_fall_back_a_time_that_comes_twice_runs_once(self) -> None:
        # Madrid, 2026-10-25: 03:00 becomes 02:00, at 01:00 UTC.
        assert some("30 2 * * *", "Europe/Madrid", "2026-10-24T12:00") == [
            "10-25 00:30",
            "10-26 01:30",
            "10-27 01:30",
        ]

    @pytest.mark.parametrize(
        "zone",
        [
            # Clocks are changed at midnight, by half an hour, twice in Ramadan, and never.
            *("America/Santiago", "Asia/Beirut", "Australia/Lord_Howe", "Africa/Casablanca"),
            *("America/St_Johns", "Asia/Kathmandu", "UTC"),
        ],
    )
    @pytest.mark.parametrize("hour", [0, 1, 2, 3, 23])
    def test_a_certain_hour_comes_once_a_day_in_every_zone(self, zone: str, hour: int) -> None:
        start, end = at("2026-01-01T12:00"), at("2028-01-01T12:00")
        found = takewhile(
            lambda instant: instant < end, cron.times(f"30 {hour} * * *", zone, after=start)
        )
        days = [instant.astimezone(ZoneInfo(zone)).date() for instant in found]

        assert days == [days[0] + timedelta(days=number) for number in range(len(days))]
        assert len(days) == 730

    @pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
    @pytest.mark.parametrize(("expression", "number"), [("30 * * * *", 6), ("*/15 * * * *", 24)])
    def test_every_hour_is_every_real_hour(self, day: str, expression: str, number: int) -> None:
        found = list(islice(cron.times(expression, "Europe/Madrid", after=at(day)), number))

        steps = {later - sooner for sooner, later in pairwise(found)}
        assert len(steps) == 1

    @pytest.mark.parametrize("zone", ["Europe/Madrid", "America/St_Johns", "Australia/Lord_Howe"])
    @pytest.mark.parametrize("expression", ["30 2 * * *", "*/7 1-3 * * *", "0 0 1 * *"])
    @given(minutes=st.integers(0, 500_000))
    def test_they_grow_and_go_on_from_anywhere(
        self, zone: str, expression: str, minutes: int
    ) -> None:
        start = at("2026-01-01T00:00") + timedelta(minutes=minutes)
        found = list(islice(cron.times(expression, zone, after=start), 4))

        assert found == sorted(set(found))
        assert found[0] > start
        # Whoever goes on from the last one sees what who never stopped sees.
        assert next(cron.times(expression, zone, after=found[2])) == found[3]

    @pytest.mark.parametrize(
        "expression",
        [
            *("", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "a b c d e"),
            *("*/0 * * * *", "5-1 * * * *", "@daily", "\0 * * * *", "* " * 60, "0 0 31 2 *"),
            *(None, 5, "\N{ARABIC-INDIC DIGIT ONE} * * * *", "* * * * \ud800"),
        ],
    )
    def test_what_is_no_expression_says_so(self, expression: Any) -> None:
        with pytest.raises(cron.CronInvalid, match="cron is"):
            cron.check(expression, "UTC")

    @pytest.mark.parametrize(
        "zone",
        ["", "Nowhere/City", "../../etc/passwd", "/etc/passwd", "\0", None, "x" * 65, "Europe"],
    )
    def test_what_is_no_time_zone_says_so(self, zone: Any) -> None:
        with pytest.raises(cron.CronInvalid, match="time_zone is"):
            cron.check("* * * * *", zone)


class TestDecide:
    """Pure: the rule for missed times."""

    def decide(self, missed: Missed, next_run_at: str, now: str, **values: Any) -> Due:
        given_values = {"expression": "0 * * * *", "time_zone": "UTC", **values}
        return decide(missed=missed, next_run_at=at(next_run_at), now=at(now), **given_values)

    @pytest.mark.parametrize("missed", Missed)
    def test_on_time_is_not_missed(self, missed: Missed) -> None:
        found = self.decide(missed, "2026-01-01T10:00", "2026-01-01T10:00:59")

        assert found == Due(
            run=(at("2026-01-01T10:00"),), missed=0, next_run_at=at("2026-01-01T11:00")
        )

    @pytest.mark.parametrize("missed", Missed)
    def test_before_its_time_nothing_is_due(self, missed: Missed) -> None:
        found = self.decide(missed, "2026-01-01T10:00", "2026-01-01T09:59:59")

        assert found == Due(run=(), missed=0, next_run_at=at("2026-01-01T10:00"))

    @pytest.mark.parametrize(
        ("missed", "hours", "count"),
        [
            (Missed.SKIP, [], 24),
            (Missed.ONCE, [9], 23),
            (Missed.ALL, [*range(10, 24), *range(10)], 0),
        ],
    )
    def test_a_day_without_a_worker(self, missed: Missed, hours: list[int], count: int) -> None:
        found = self.decide(missed, "2026-01-01T10:00", "2026-01-02T09:30")

        assert [instant.hour for instant in found.run] == hours
        assert (found.missed, found.next_run_at) == (count, at("2026-01-02T10:00"))

    @pytest.mark.parametrize(("missed", "hours"), [(Missed.SKIP, [10]), (Missed.ONCE, [9, 10])])
    def test_what_is_due_now_runs_beside_what_was_missed(
        self, missed: Missed, hours: list[int]
    ) -> None:
        found = self.decide(missed, "2026-01-01T05:00", "2026-01-01T10:00:01")

        assert [instant.hour for instant in found.run] == hours

    def test_all_goes_on_where_it_stopped(self) -> None:
        first = self.decide(
            Missed.ALL, "2026-01-01T00:00", "2026-01-02T00:00", expression="* * * * *"
        )

        assert len(first.run) == MOST_AT_ONCE
        assert first.next_run_at == first.run[-1] + timedelta(minutes=1)

    def test_years_are_not_walked_over(self) -> None:
        found = self.decide(
            Missed.ONCE, "1990-01-01T00:00", "2026-01-01T00:30", expression="* * * * *"
        )

        assert found.run == (at("2026-01-01T00:29"), at("2026-01-01T00:30"))

    @pytest.mark.parametrize("missed", Missed)
    @pytest.mark.parametrize("zone", ["Europe/Madrid", "America/Santiago", "Australia/Lord_Howe"])
    @pytest.mark.parametrize("expression", ["30 2 * * *", "15 0,23 * * *", "*/20 1-3 * * *"])
    @given(
        start=st.sampled_from(["2026-03-27", "2026-04-03", "2026-09-04", "2026-10-02"]),
        pauses=st.lists(st.integers(1, 3 * 86_400), min_size=1, max_size=8),
    )
    def test_whenever_somebody_looks_each_time_is_dealt_with_once(
        self, missed: Missed, zone: str, expression: str, start: str, pauses: list[int]
    ) -> None:
        """From before the clocks are changed to after that, in summer and in winter."""
        times = partial(cron.times, expression, zone, after=at(start))
        now, due_at = at(start), next(times())
        run: list[datetime] = []
        number = 0
        for seconds in pauses:
            now += timedelta(seconds=seconds)
            while due_at <= now:
                found = decide(expression=expression, time_zone=zone, missed=missed,
                               next_run_at=due_at, now=now)  # fmt: skip
                assert found.next_run_at is not None
                assert due_at < found.next_run_at
                run, number, due_at = [*run, *found.run], number + found.missed, found.next_run_at

        expected = list(takewhile(lambda instant: instant <= now, times()))
        assert len(run) + number == len(expected)
        assert run == [instant for instant in expected if instant in set(run)]

    def test_a_rare_time_is_found_all_the_same(self) -> None:
        found = self.decide(
            Missed.ONCE, "2000-02-29T00:00", "2026-01-01T00:00", expression="0 0 29 2 *"
        )

        assert found.run == (at("2024-02-29T00:00"),)
