"""Periodic jobs: each due time once, whatever the clocks and the tickers do."""

from __future__ import annotations

import threading
import uuid
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hodei.sessions import connect
from jobs import cron, leases, ticker
from jobs.due import MOST_AT_ONCE, Due, decide
from jobs.rescuer import Rescuer
from jobs.services import schedules
from jobs.services.schedules import ScheduleExists, ScheduleInvalid, ScheduleNotFound
from jobs.states import Missed, Overlap
from jobs.ticker import TICK, tick
from tests.jobs.conftest import Jobs
from tests.jobs.test_workers import both

Session = psycopg.Connection[Any]
SPEC = {"test": {"do": "succeed"}}


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

    def test_a_rare_time_is_found_all_the_same(self) -> None:
        found = self.decide(
            Missed.ONCE, "2000-02-29T00:00", "2026-01-01T00:00", expression="0 0 29 2 *"
        )

        assert found.run == (at("2024-02-29T00:00"),)


def add(name: str = "nightly", **options: Any) -> Any:
    return schedules.add(name, **{"cron": "0 * * * *", "spec": SPEC, "actor": "me", **options})


def due(jobs: Jobs, ago: str = "0 s", *, name: str = "nightly") -> None:
    """Let its next time be the hour that began so long ago."""
    jobs.execute(
        "UPDATE job_schedules SET next_run_at = date_trunc('hour', now() - %s::interval) "
        "WHERE name = %s",
        [ago, name],
    )


def keys(jobs: Jobs) -> list[str]:
    return [row[0] for row in jobs.rows("SELECT idempotency_key FROM jobs ORDER BY 1")]


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

    def test_a_change_names_what_may_change(self, jobs: Jobs) -> None:
        add()
        for changes in ({}, {"enabled": True}):
            with pytest.raises(ScheduleInvalid, match="it may be cron, missed, options"):
                schedules.change("nightly", actor="me", **changes)


class TestTick:
    def test_each_due_time_is_enqueued_once(self, jobs: Jobs, session: Session) -> None:
        add(options={"queue": "reports", "priority": 5, "timeout": 60, "max_attempts": 1})
        due(jobs)
        jobs.execute("UPDATE job_schedules SET missed = 'ALL'")

        assert tick(session) == 1
        assert tick(session) == 0

        ((instant,),) = jobs.rows("SELECT last_run_at FROM job_schedules")
        assert jobs.rows("SELECT name, queue, priority, max_attempts, timeout, spec FROM jobs") == [
            ("nightly", "reports", 5, 1, timedelta(seconds=60), '{"test": {"do": "succeed"}}')
        ]
        assert keys(jobs) == [f"schedule:nightly:{instant.astimezone(UTC).isoformat()}"]
        assert jobs.rows("SELECT last_job_id, next_run_at - last_run_at FROM job_schedules") == [
            (jobs.value("SELECT id FROM jobs"), timedelta(hours=1))
        ]

    def test_two_tickers_at_once(self, jobs: Jobs) -> None:
        for number in range(20):
            add(f"s{number}", missed=Missed.ALL, overlap=Overlap.QUEUE)
            due(jobs, "3 hours", name=f"s{number}")

        def work() -> int:
            with connect("default", "test") as session:
                return tick(session)

        found = both(*[work] * 4)

        assert sum(found) == jobs.value("SELECT count(*) FROM jobs") == 80

    def test_another_that_ticks_is_not_waited_for(self, jobs: Jobs, session: Session) -> None:
        add(missed=Missed.ALL)
        due(jobs)
        with connect("default", "other") as other, other.transaction():
            other.execute("SELECT pg_advisory_xact_lock(%s, 0)", [TICK])
            assert tick(session) == 0
        assert tick(session) == 1

    @pytest.mark.parametrize(("missed", "number"), [("SKIP", 0), ("ONCE", 1), ("ALL", 25)])
    def test_a_worker_that_was_down_for_a_day(
        self, jobs: Jobs, session: Session, missed: str, number: int
    ) -> None:
        # Half past some hour, so that none of them is due at this moment.
        minute = (datetime.now(UTC).minute + 30) % 60
        add(cron=f"{minute} * * * *", missed=Missed(missed), overlap=Overlap.QUEUE)
        jobs.execute("UPDATE job_schedules SET next_run_at = next_run_at - interval '25 hours'")

        assert tick(session) == number
        assert jobs.value("SELECT next_run_at > clock_timestamp() FROM job_schedules")

    def test_a_clock_that_was_put_forward_and_back(self, jobs: Jobs, session: Session) -> None:
        """What was dealt with by the wrong clock is not done again, and its future is not lost."""
        add(missed=Missed.ALL)
        due(jobs)
        tick(session)
        # As if it had been enqueued an hour from now, and the next time were a year away.
        coming = jobs.value("SELECT date_trunc('hour', now()) + interval '1 hour'")
        jobs.execute(
            "UPDATE job_schedules SET last_run_at = %s, next_run_at = %s + interval '1 year'",
            [coming, coming],
        )
        jobs.execute(
            "INSERT INTO jobs (id, spec, state, idempotency_key) VALUES (%s, %s, 'SUCCEEDED', %s)",
            [
                *(uuid.uuid4(), '{"test": {"do": "succeed"}}'),
                f"schedule:nightly:{coming.astimezone(UTC).isoformat()}",
            ],
        )

        assert tick(session) == 0
        assert jobs.value("SELECT next_run_at FROM job_schedules") == coming

        # That hour comes again, by the right clock: its job is known.
        jobs.execute("UPDATE job_schedules SET cron = '0 0 1 1 *', next_run_at = %s", [coming])
        before = len(keys(jobs))
        schedule = session.execute(
            "SELECT id, name, cron, time_zone, spec::text, options::text, overlap, missed, "
            "next_run_at, last_job_id, last_run_at, next_run_at + interval '1 s' "
            "FROM job_schedules"
        ).fetchone()
        assert schedule is not None
        assert ticker._run(session, schedule) == 0
        assert len(keys(jobs)) == before

    @pytest.mark.parametrize("state", ["PENDING", "RUNNING", "MANUAL_INTERVENTION_REQUIRED"])
    def test_overlap_skip(self, jobs: Jobs, session: Session, state: str) -> None:
        add(missed=Missed.ALL, overlap=Overlap.SKIP)
        due(jobs, "1 hour")
        assert tick(session) == 1
        jobs.execute("UPDATE jobs SET state = %s", [state])
        due(jobs)

        assert tick(session) == 0
        jobs.execute("UPDATE jobs SET state = 'FAILED'")
        due(jobs)
        assert tick(session) == 1

    def test_overlap_queue(self, jobs: Jobs, session: Session) -> None:
        add(missed=Missed.ALL, overlap=Overlap.QUEUE)
        due(jobs, "2 hours")

        assert tick(session) == 3
        assert jobs.value("SELECT count(*) FROM job_queue") == 3

    def test_overlap_replace(self, jobs: Jobs, session: Session) -> None:
        add(missed=Missed.ALL, overlap=Overlap.REPLACE)
        due(jobs, "2 hours")

        assert tick(session) == 3

        assert jobs.rows("SELECT state, count(*) FROM jobs GROUP BY 1 ORDER BY 1") == [
            ("CANCELLED", 2),
            ("PENDING", 1),
        ]
        assert jobs.value("SELECT count(*) FROM job_queue") == 1
        assert jobs.value("SELECT count(*) FROM audit_logs WHERE event_type = 'JobCancelled'") == 2

    def test_overlap_replace_asks_what_runs_to_stop(self, jobs: Jobs, session: Session) -> None:
        add(missed=Missed.ALL, overlap=Overlap.REPLACE)
        due(jobs, "1 hour")
        jobs.execute("UPDATE job_schedules SET overlap = 'SKIP'")
        tick(session)
        leases.claim(session, uuid.uuid4(), ["default"], 1, starting=1)
        jobs.execute("UPDATE job_schedules SET overlap = 'REPLACE'")
        due(jobs)

        assert tick(session) == 1
        assert jobs.value("SELECT cancel_requested_at IS NOT NULL FROM job_leases")

    def test_one_that_cannot_run_keeps_no_other_from_it(self, jobs: Jobs, session: Session) -> None:
        for name in ("a", "b", "c"):
            add(name, missed=Missed.ALL)
            due(jobs, name=name)
        jobs.execute("UPDATE job_schedules SET spec = '{}' WHERE name = 'a'")
        jobs.execute("UPDATE job_schedules SET cron = 'nonsense' WHERE name = 'b'")

        assert tick(session) == 1

        assert jobs.rows("SELECT name, enabled FROM job_schedules ORDER BY name") == [
            ("a", False),
            ("b", False),
            ("c", True),
        ]
        assert jobs.value(
            "SELECT count(*) FROM audit_logs WHERE event_type = 'ScheduleFailed'"
        ) == 2  # fmt: skip


class TestTicker:
    def test_a_worker_runs_what_is_due(self, jobs: Jobs) -> None:
        add(missed=Missed.ALL, spec={"test": {"do": "succeed", "n": 7}})
        due(jobs)

        assert jobs.drain() == [7]

    def test_without_schedules_a_look_is_enough(self, jobs: Jobs, session: Session) -> None:
        found = Rescuer(uuid.uuid4())
        found.look(session)

        assert 1 < found.until_due() <= 1.5

    def test_it_looks_when_the_next_is_due(self, jobs: Jobs, session: Session) -> None:
        add()
        jobs.execute("UPDATE job_schedules SET next_run_at = clock_timestamp() + interval '0.9 s'")
        found = Rescuer(uuid.uuid4())
        found.look(session)

        assert found.until_due() <= 0.9

    def test_a_change_waits_for_the_tick(self, jobs: Jobs) -> None:
        add(missed=Missed.ALL)
        due(jobs)
        outcome: list[Any] = []
        with connect("default", "a") as session, session.transaction():
            assert tick(session) == 1
            thread = threading.Thread(
                target=lambda: outcome.extend(
                    both(lambda: schedules.disable("nightly", actor="me"))
                )
            )
            thread.start()
        thread.join(10)

        assert outcome == [True]
        assert jobs.rows("SELECT enabled, last_job_id IS NULL FROM job_schedules") == [
            (False, False)
        ]
