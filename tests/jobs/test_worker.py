from __future__ import annotations

import logging
import threading
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from hodei.sessions import connect
from jobs import leases, registration
from jobs import worker as worker_module
from jobs.current import Current
from jobs.failures import log_failure
from jobs.runs import Claimed, Ended, Run
from jobs.services import lifecycle, workers
from jobs.states import FailureKind, JobState
from jobs.worker import MOST_GATES, Worker
from tests.databases import HERE
from tests.jobs import executors
from tests.jobs.conftest import Jobs
from tests.jobs.kit import running
from tests.processes import eventually


class TestCurrentJob:
    """For those who look at workers: the lease decides who runs what."""

    def noted(self, jobs: Jobs, worker: Worker) -> tuple[Any, ...]:
        found = jobs.rows("SELECT state, current_job_id FROM workers WHERE id = %s", [worker.id])
        return found[0] if found else ("", None)

    def test_a_worker_that_runs_one_at_a_time_notes_it(self, jobs: Jobs) -> None:
        job, worker = jobs.enqueue(0, "wait"), jobs.worker()
        with running(worker):
            assert eventually(lambda: self.noted(jobs, worker) == ("BUSY", job))
            executors.go_on.set()
            assert eventually(lambda: self.noted(jobs, worker) == ("READY", None))
        assert self.noted(jobs, worker) == ("TERMINATED", None)

    def test_a_draining_one_stays_so(self, jobs: Jobs) -> None:
        job, worker = jobs.enqueue(0, "wait"), jobs.worker()
        with running(worker):
            assert executors.began.wait(20)
            jobs.execute("UPDATE workers SET state = 'DRAINING'")
            assert eventually(lambda: self.noted(jobs, worker) == ("DRAINING", job))

    def test_one_that_runs_many_notes_none(self, jobs: Jobs) -> None:
        assert jobs.worker(concurrency=2)._finisher.current is None

    def test_a_worker_that_lost_the_job_has_it_no_more(self, jobs: Jobs) -> None:
        job, worker = jobs.enqueue(0, "wait"), jobs.worker()
        old = workers.register_local(resource_id="host-1")
        workers.assign(old, job)
        with running(worker):
            assert eventually(lambda: self.noted(jobs, worker) == ("BUSY", job))
        assert jobs.value("SELECT current_job_id FROM workers WHERE id = %s", [old]) is None

    def test_a_job_that_is_deleted_stops_nobody(self, jobs: Jobs, caplog: Any) -> None:
        job, worker = jobs.enqueue(0), jobs.worker()
        current = Current(worker.id, threading.Event())
        with connect("default", "test") as session:
            registration.enter_local(session, worker.id, {})
            leases.claim(session, worker.id, ["default"], 1, starting=1)
            jobs.execute("DELETE FROM jobs WHERE id = %s", [job])
            current.runs(job)
            with caplog.at_level("INFO"):
                current.write(session)
            assert "was not noted" in caplog.text
            assert self.noted(jobs, worker) == ("READY", None)

    def test_what_could_not_be_written_is_written_later(self, jobs: Jobs) -> None:
        job, worker = jobs.enqueue(0), jobs.worker()
        current = Current(worker.id, threading.Event())
        with connect("default", "test") as session:
            registration.enter_local(session, worker.id, {})
            leases.claim(session, worker.id, ["default"], 1, starting=1)
            current.runs(job)
            with connect("default", "test") as broken:
                broken.close()
                with pytest.raises(psycopg.OperationalError):
                    current.write(broken)
            assert eventually(lambda: current.until_due() == 0.0)
            current.write(session)
            assert self.noted(jobs, worker) == ("BUSY", job)


class TestDrain:
    def test_runs_everything_in_order_and_ends(self, jobs: Jobs) -> None:
        for n in range(300):
            jobs.enqueue(n, priority=1 if n == 250 else 0)

        assert jobs.drain() == [250, *(n for n in range(300) if n != 250)]

        assert jobs.rows("SELECT DISTINCT state, attempts, lost_leases FROM jobs") == [
            ("SUCCEEDED", 1, 0)
        ]
        assert jobs.value("SELECT result FROM jobs WHERE result @> '{\"n\": 7}'") == '{"n": 7}'
        assert jobs.rows("SELECT state, provider_type FROM workers") == [("TERMINATED", "process")]
        assert jobs.value("SELECT count(*) FROM job_leases") == 0

    def test_with_many_slots_nothing_is_run_twice(self, jobs: Jobs) -> None:
        for n in range(500):
            jobs.enqueue(n)

        assert sorted(jobs.drain(concurrency=8)) == list(range(500))

    def test_of_nothing_ends_at_once(self, jobs: Jobs) -> None:
        assert jobs.drain() == []

    def test_a_job_between_the_line_and_its_slot_is_waited_for(
        self, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looks = threading.Semaphore(0)
        real_claim, real_executor_of = Worker._claim, worker_module.executor_of

        def claim(worker: Worker, session: Any) -> int:
            found = real_claim(worker, session)
            looks.release()
            return found

        def executor_of(spec: Any) -> Any:
            for _ in range(4):  # the slot is as slow as several looks for work
                assert looks.acquire(timeout=30), "the worker ended while a slot had a job"
            return real_executor_of(spec)

        monkeypatch.setattr(Worker, "_claim", claim)
        monkeypatch.setattr(worker_module, "executor_of", executor_of)
        jobs.enqueue(1, "fail", retry_in=0.0, max_attempts=2)

        assert jobs.drain(longest_poll=0.02) == [1, 1]

    def test_of_some_queues_leaves_the_others(self, jobs: Jobs) -> None:
        jobs.enqueue(1, queue="a")
        jobs.enqueue(2, queue="b")

        assert jobs.drain(queues=("a",)) == [1]
        assert jobs.drain() == [2]

    def test_ends_after_so_many(self, jobs: Jobs) -> None:
        for n in range(10):
            jobs.enqueue(n)
        executors.ran.clear()

        jobs.worker(max_jobs=3).run()

        assert executors.ran == [0, 1, 2]
        assert jobs.value("SELECT count(*) FROM job_queue") == 7

    def test_what_is_due_is_promoted(self, jobs: Jobs) -> None:
        job = jobs.enqueue(1, run_after=datetime.now(UTC) + timedelta(hours=1))
        jobs.execute("UPDATE job_queue_deferred SET run_after = now()")

        assert jobs.drain() == [1]
        assert jobs.state(job) == "SUCCEEDED"


class TestRest:
    def test_with_a_free_slot_and_nothing_to_claim_it_rests(self, jobs: Jobs) -> None:
        jobs.enqueue(0, "wait")
        worker = jobs.worker(concurrency=2, longest_poll=0.01)
        worker._pace.shortest = 0.01
        wait, woken = worker._held.room.wait, []
        worker._held.room.wait = (  # type: ignore[method-assign]
            lambda timeout=None: woken.append(wait(timeout))
        )
        with running(worker):
            assert executors.began.wait(30)
            # A free slot that asked for work again and again would wake it at once each time.
            assert eventually(lambda: len(woken) > 30)
            assert not any(woken[-10:])


class TestOutcomes:
    def test_a_failure_is_tried_again_and_given_up(self, jobs: Jobs) -> None:
        job = jobs.enqueue(1, "fail", retry_in=0.0)

        assert jobs.drain() == [1, 1, 1]

        assert jobs.rows("SELECT state, attempts, error_message FROM jobs") == [
            ("FAILED", 3, "it was to fail")
        ]
        assert jobs.rows("SELECT attempt FROM job_failed_attempts ORDER BY id") == [
            (1,),
            (2,),
            (3,),
        ]
        assert jobs.place(job) == []

    def test_each_run_that_failed_is_a_line_of_the_worker_s_log(
        self, jobs: Jobs, caplog: pytest.LogCaptureFixture
    ) -> None:
        job = jobs.enqueue(1, "fail", retry_in=0.0, max_attempts=2, name="it")

        with caplog.at_level(logging.WARNING, "jobs.worker"):
            jobs.drain()

        said = [one.getMessage() for one in caplog.records if one.name == "jobs.worker"]
        assert said == [
            f"a run failed job_id={job} name=it attempt={attempt}/2 again_in={again} kind=Unknown "
            "error=it was to fail"
            for attempt, again in ((1, "0.0"), (2, "never"))
        ]

    def test_what_was_no_failure_is_no_line(
        self, jobs: Jobs, caplog: pytest.LogCaptureFixture
    ) -> None:
        jobs.enqueue(1)
        jobs.enqueue(2, "snooze", seconds=3600)

        with caplog.at_level(logging.WARNING, "jobs.worker"):
            jobs.drain()

        assert [one for one in caplog.records if one.name == "jobs.worker"] == []

    def test_a_line_of_an_error_is_short_and_without_secrets(
        self, jobs: Jobs, caplog: pytest.LogCaptureFixture
    ) -> None:
        job = uuid.uuid4()
        rest: tuple[Any, ...] = (1, 3, None, "it", None, None, None, None, 0, "{}", True, 0, 1, "q")
        run = Run(Claimed(job, 1, "{}", *rest), job)
        words = f"password=hunter2\n{'x' * 999}"
        ended = Ended(job, 1, JobState.FAILED, error=words, kind=FailureKind.UNKNOWN)

        log_failure(run, ended)

        (said,) = [one.getMessage() for one in caplog.records if one.name == "jobs.worker"]
        error = said.partition("error=")[2]
        assert error.endswith("x...")
        assert len(error) == 200
        assert "hunter2" not in said
        assert "\n" not in said

    def test_a_failure_of_the_user_is_not(self, jobs: Jobs) -> None:
        jobs.enqueue(1, "fail", kind="ValidationError")

        assert jobs.drain() == [1]

    def test_an_exception_is_a_failure_with_its_traceback(self, jobs: Jobs) -> None:
        jobs.enqueue(1, "raise", max_attempts=1)
        jobs.drain()

        ((kind, error, message, trace),) = jobs.rows(
            "SELECT kind, error_class, message, traceback FROM job_failed_attempts"
        )
        assert (kind, error) == ("Unknown", "builtins.ValueError")
        assert message == "ValueError: as it was told"
        assert 'raise ValueError("as it was told")' in trace

    def test_what_no_executor_may_return_is_one(self, jobs: Jobs) -> None:
        """And neither the slot nor the thread that writes ends with it."""
        for n in range(len(executors.WRONG)):
            jobs.enqueue(n, "return", max_attempts=1)
        last = jobs.enqueue("last")

        assert jobs.drain() == [*range(len(executors.WRONG)), "last"]

        assert jobs.state(last) == "SUCCEEDED"
        assert jobs.rows("SELECT DISTINCT state FROM jobs WHERE id <> %s", [last]) == [("FAILED",)]
        assert jobs.value("SELECT message FROM job_failed_attempts ORDER BY id LIMIT 1") == (
            "TypeError: An executor returned None, which is no outcome of a run."
        )

    def test_a_time_out_is_one(self, jobs: Jobs) -> None:
        job = jobs.enqueue(1, "time out", max_attempts=1)
        jobs.drain()

        assert jobs.state(job) == "TIMEOUT"

    def test_a_snooze_spends_no_attempt(self, jobs: Jobs) -> None:
        job = jobs.enqueue(1, "snooze", seconds=3600)

        assert jobs.drain() == [1]
        assert jobs.rows("SELECT state, attempts FROM jobs") == [("PENDING", 0)]
        assert jobs.place(job) == ["job_queue_deferred"]

    def test_defect_3_2_a_spec_that_nobody_knows_fails_alone(
        self, jobs: Jobs, settings: Any
    ) -> None:
        known = jobs.enqueue(1)
        unknown = jobs.enqueue(2)
        jobs.execute("UPDATE jobs SET spec = '{\"other\": 1}' WHERE id = %s", [unknown])

        assert jobs.drain() == [1]
        assert (jobs.state(known), jobs.state(unknown)) == ("SUCCEEDED", "FAILED")
        assert "it has one of 'test'" in jobs.value(
            "SELECT error_message FROM jobs WHERE id = %s", [unknown]
        )


class TestStop:
    def test_finishes_what_runs_and_returns_what_has_not_begun(self, jobs: Jobs) -> None:
        ids = [jobs.enqueue(n, "wait") for n in range(5)]
        worker = jobs.worker()
        with running(worker):
            assert executors.began.wait(30)
            ids.append(jobs.enqueue(5, "wait"))
            worker.stop.set()
            # It gives them back while the one still runs, and before that may end.
            returned = "SELECT count(*) FROM jobs WHERE state = 'PENDING' AND attempts = 0"
            assert eventually(lambda: jobs.value(returned) == 5)

        assert jobs.rows("SELECT state, attempts, count(*) FROM jobs GROUP BY 1, 2 ORDER BY 1") == [
            ("PENDING", 0, 5),
            ("SUCCEEDED", 1, 1),
        ]
        line = jobs.rows("SELECT job_id FROM job_queue ORDER BY id")
        assert [row[0] for row in line] == ids[1:]
        assert jobs.value("SELECT count(*) FROM job_leases") == 0

    def test_at_once_leaves_it_to_another(self, jobs: Jobs) -> None:
        job = jobs.enqueue(1, "wait")
        worker = jobs.worker()
        with running(worker) as thread:
            assert executors.began.wait(30)
            worker.stop_now()
            thread.join(30)
            assert not thread.is_alive()

        assert jobs.state(job) == "RUNNING"
        assert jobs.place(job) == ["job_leases"]

    def test_a_worker_that_was_told_to_drain_ends(
        self, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("jobs.finisher.HEARTBEAT_SECONDS", 0.05)
        worker = jobs.worker()
        with running(worker) as thread:
            assert eventually(lambda: jobs.value("SELECT count(*) FROM workers") == 1)
            jobs.execute("UPDATE workers SET state = 'DRAINING'")
            thread.join(30)
            assert not thread.is_alive()


class TestLease:
    def test_is_prolonged_while_a_job_runs_and_while_one_waits_behind_it(self, jobs: Jobs) -> None:
        held = [jobs.enqueue(n, "wait") for n in range(2)]
        ends = "SELECT expires_at FROM job_leases WHERE job_id = %s"
        with running(jobs.worker(lease_seconds=3.0)):
            assert executors.began.wait(10)
            before = {job: jobs.value(ends, [job]) for job in held if jobs.rows(ends, [job])}
            assert held[0] in before
            # Each time from now on: so the second of two is not what the claim has set.
            for _ in range(2):
                for job, end in before.items():
                    assert eventually(lambda job=job, end=end: jobs.value(ends, [job]) > end)
                    before[job] = jobs.value(ends, [job])

        assert jobs.rows("SELECT DISTINCT state, lost_leases FROM jobs") == [("SUCCEEDED", 0)]


class TestCancel:
    @pytest.mark.usefixtures("many_renewals")
    def test_a_running_job_is_stopped(self, jobs: Jobs) -> None:
        job = jobs.enqueue(1, "wait")
        with running(jobs.worker()):
            assert executors.began.wait(30)
            outcome = lifecycle.cancel(job, reason="enough", actor="me")
            assert eventually(lambda: jobs.state(job) == "CANCELLED")

        assert outcome is lifecycle.CancelOutcome.REQUESTED

    @pytest.mark.usefixtures("many_renewals")
    def test_a_job_whose_lease_is_lost_is_stopped_and_not_written_over(self, jobs: Jobs) -> None:
        job = jobs.enqueue(1, "wait")
        with running(jobs.worker()):
            assert executors.began.wait(30)
            jobs.execute("UPDATE job_leases SET epoch = epoch + 1, expires_at = now() + '1 hour'")
            jobs.execute("UPDATE jobs SET error_message = 'another has it'")
            # Its slot is free again: it runs the next one.
            jobs.enqueue(2)
            assert eventually(lambda: executors.ran == [1, 2])

        assert jobs.rows("SELECT state, error_message FROM jobs WHERE id = %s", [job]) == [
            ("RUNNING", "another has it")
        ]
        assert jobs.place(job) == ["job_leases"]


class TestWakeUp:
    def test_defect_3_2_an_idle_worker_is_woken(self, jobs: Jobs) -> None:
        gates = (
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = %s "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        # There it listened where nobody told it anything.
        worker = jobs.worker(queues=("default",), longest_poll=300.0)
        worker._pace.shortest = 300.0
        worker._rescuer.until_due = lambda: 300.0  # type: ignore[method-assign]
        with running(worker):
            assert eventually(lambda: jobs.value(gates, [0x6A6F6201]) == 1)
            # It sleeps for 300 seconds by now; its next sleep is to be one that ends.
            assert eventually(lambda: worker._pace._pause == 300.0)
            worker._pace.shortest = 0.02
            jobs.enqueue(1)
            assert executors.began.wait(30)

    def test_of_any_number_of_queues_it_closes_some_gates_and_looks_after_all(
        self, jobs: Jobs
    ) -> None:
        """Each gate is a place in the server's table of locks, which is finite and everybody's."""
        gates = (
            f"SELECT count(*) FROM pg_locks WHERE {HERE} AND locktype = 'advisory' AND classid = %s"
        )
        names = [f"tenant {number}" for number in range(3 * MOST_GATES)]
        worker = jobs.worker(queues=tuple(names), concurrency=10, longest_poll=0.2)
        with running(worker):
            assert eventually(lambda: jobs.value(gates, [0x6A6F6201]) > 0)
            assert jobs.value(gates, [0x6A6F6201]) <= MOST_GATES
            for name in (names[0], names[-1]):
                jobs.enqueue(queue=name)
            assert eventually(lambda: len(executors.ran) == 2)


class TestDatabase:
    def test_its_row_is_ended_although_the_session_was_lost_while_it_left(self, jobs: Jobs) -> None:
        worker = jobs.worker()
        worker._presence.enter()
        worker._presence.begin_leaving()
        state = "SELECT state FROM workers"
        assert jobs.value(state) == "DRAINING"
        jobs.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name LIKE 'hodei jobs worker%'"
        )

        worker._presence.leave()

        assert jobs.value(state) == "TERMINATED"

    def test_it_goes_on_when_its_sessions_are_ended(self, jobs: Jobs) -> None:
        with running(jobs.worker()):
            jobs.enqueue(1)
            assert eventually(lambda: "SUCCEEDED" in states(jobs))
            jobs.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name LIKE 'hodei jobs%'"
            )
            jobs.enqueue(2)
            assert eventually(lambda: states(jobs) == ["SUCCEEDED", "SUCCEEDED"])


def states(jobs: Jobs) -> list[str]:
    return [row[0] for row in jobs.rows("SELECT state FROM jobs")]
