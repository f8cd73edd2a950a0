from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from jobs.services import schedules
from jobs.services.schedules import ScheduleExists, ScheduleInvalid, ScheduleNotFound
from jobs.states import Missed
from tests.jobs.conftest import Jobs
from tests.jobs.test_schedules.kit import add, due


@pytest.mark.django_db
class TestServices:
    def test_a_schedule_s_life(self, jobs: Jobs) -> None:
        first = add(time_zone="Europe/Madrid", options={"queue": "reports", "timeout": 60})
        assert first is not None
        assert first > datetime.now(UTC)
        assert [row.name for row in schedules.find()] == ["nightly"]

        assert schedules.disable("nightly", actor="me")
        assert not schedules.disable("nightly", actor="me")
        assert schedules.enable("nightly", actor="me")
        assert not schedules.enable("nightly", actor="me")
        schedules.change("nightly", actor="me", cron="0 0 1 1 *", overlap="QUEUE")
        assert jobs.rows("SELECT cron, overlap, options ->> 'queue' FROM job_schedules") == [
            ("0 0 1 1 *", "QUEUE", "reports")
        ]
        schedules.remove("nightly", actor="me")

        assert schedules.find() == []
        events = jobs.rows("SELECT event_type FROM audit_logs ORDER BY occurred_at")
        assert [event.removeprefix("Schedule") for (event,) in events] == [
            *("Added", "Disabled", "Enabled", "Changed", "Removed")
        ]

    def test_a_name_is_one_schedule_s(self, jobs: Jobs) -> None:
        add()
        with pytest.raises(ScheduleExists):
            add()

    def test_enabled_again_it_makes_up_for_nothing(self, jobs: Jobs) -> None:
        add(missed=Missed.ALL)
        schedules.disable("nightly", actor="me")
        due(jobs, "1 day")

        schedules.enable("nightly", actor="me")

        assert jobs.value("SELECT next_run_at > clock_timestamp() FROM job_schedules")

    @pytest.mark.parametrize("name", ["nobody", "\0", "\ud800", "'; --"])
    def test_of_an_unknown_one(self, jobs: Jobs, name: str) -> None:
        for action in (schedules.enable, schedules.disable, schedules.remove):
            with pytest.raises(ScheduleNotFound):
                action(name, actor="me")  # type: ignore[operator]

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("name", ""), ("name", "x" * 101), ("name", "a\0"), ("name", "a\nb"), ("name", 1),
            ("cron", "nonsense"), ("time_zone", "Nowhere"), ("spec", {}), ("spec", {"other": 1}),
            ("spec", "text"), ("options", {"nonsense": 1}), ("options", "text"),
            ("options", {"priority": 101}), ("options", {"timeout": "long"}),
            ("options", {"timeout": 1e300}), ("options", {"idempotency_key": "x"}),
            ("overlap", "NEVER"), ("missed", None),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_named_and_nothing_stored(
        self, jobs: Jobs, field: str, value: Any
    ) -> None:
        given_values: dict[str, Any] = {"name": "a", field: value}

        with pytest.raises(ScheduleInvalid):
            add(given_values.pop("name"), **given_values)

        assert jobs.value("SELECT count(*) FROM job_schedules") == 0

    def test_of_the_options_those_change_that_are_given(self, jobs: Jobs) -> None:
        add(options={"queue": "reports", "priority": 5})

        schedules.change("nightly", actor="me", options={"priority": None, "timeout": 9})

        assert schedules.find()[0].options == {"queue": "reports", "timeout": 9}

    def test_a_change_names_what_may_change(self, jobs: Jobs) -> None:
        add()
        for changes in ({}, {"enabled": True}):
            with pytest.raises(ScheduleInvalid, match="it may be cron, missed, options"):
                schedules.change("nightly", actor="me", **changes)
