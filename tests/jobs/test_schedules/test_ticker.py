from __future__ import annotations

import threading
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from hodei.sessions import connect
from jobs import leases, ticker
from jobs.rescuer import Rescuer
from jobs.services import schedules
from jobs.states import Missed, Overlap
from jobs.ticker import TICK, tick
from tests.jobs import executors
from tests.jobs.conftest import Jobs
from tests.jobs.test_schedules.kit import add, due
from tests.meeting import at_once

Session = psycopg.Connection[Any]


def keys(jobs: Jobs) -> list[str]:
    return [row[0] for row in jobs.rows("SELECT idempotency_key FROM jobs ORDER BY 1")]


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

        found = at_once(*[work] * 4)

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

    def test_a_clock_that_was_put_back_after_nothing_was_enqueued(
        self, jobs: Jobs, session: Session
    ) -> None:
        """By the wrong clock its times were skipped, or it was added or enabled. It goes on now."""
        add(missed=Missed.SKIP)
        jobs.execute(
            "UPDATE job_schedules SET updated_at = now() + interval '1 day', "
            "next_run_at = date_trunc('hour', now()) + interval '25 hours'"
        )
        Rescuer(uuid.uuid4()).look(session)

        ((wait, changed),) = jobs.rows(
            "SELECT next_run_at - now(), updated_at <= now() FROM job_schedules"
        )
        assert timedelta() < wait <= timedelta(hours=1)
        assert changed
        assert keys(jobs) == []

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

    def test_an_executor_that_fails_as_it_looks_at_one_ends_nobody(
        self, jobs: Jobs, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def look(_: Any, spec: Any) -> None:
            if spec.get("n") == "odd":
                raise KeyError("what an older version had")

        add("a", spec={"test": {"do": "succeed", "n": "odd"}}, missed=Missed.ALL)
        add("b", missed=Missed.ALL)
        due(jobs, name="a")
        due(jobs, name="b")
        monkeypatch.setattr(executors.Scripted, "validate", look)

        assert tick(session) == 1
        assert jobs.rows("SELECT name, enabled FROM job_schedules ORDER BY name") == [
            ("a", False),
            ("b", True),
        ]
        assert "KeyError: 'what an older version had'" in str(
            jobs.value("SELECT payload FROM audit_logs WHERE event_type = 'ScheduleFailed'")
        )

    @pytest.mark.parametrize(
        "change",
        [
            *("next_run_at = '-infinity'", "next_run_at = '0100-01-01 BC'"),
            *("last_run_at = 'infinity'", "updated_at = '20000-01-01'"),
            "last_run_at = '-infinity', next_run_at = '-infinity', updated_at = '-infinity'",
        ],
    )
    def test_a_time_that_no_clock_can_show_keeps_no_other_from_it(
        self, jobs: Jobs, session: Session, change: str
    ) -> None:
        add("a")
        add("b", missed=Missed.ALL)
        due(jobs, name="b")
        jobs.execute(f"UPDATE job_schedules SET {change} WHERE name = 'a'")

        Rescuer(uuid.uuid4(), at_once=True).look(session)

        assert "b" in {row[0] for row in jobs.rows("SELECT name FROM jobs")}
        assert jobs.value("SELECT next_run_at > now() FROM job_schedules WHERE name = 'a'")

    @pytest.mark.every_server
    def test_what_is_due_never_costs_no_look(self, jobs: Jobs, session: Session) -> None:
        add()
        jobs.execute("UPDATE job_schedules SET next_run_at = 'infinity'")
        job = jobs.enqueue(run_after=datetime.now(UTC) + timedelta(hours=1))
        jobs.execute("UPDATE job_queue_deferred SET run_after = 'infinity'")

        Rescuer(uuid.uuid4(), at_once=True).look(session)

        assert jobs.place(job) == ["job_queue_deferred"]


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
                    at_once(lambda: schedules.disable("nightly", actor="me"))
                )
            )
            thread.start()
        thread.join(30)

        assert outcome == [True]
        assert jobs.rows("SELECT enabled, last_job_id IS NULL FROM job_schedules") == [
            (False, False)
        ]
