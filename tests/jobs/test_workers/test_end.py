from __future__ import annotations

import threading
import uuid
from typing import Any

import pytest
from django.db import transaction

from hodei.sessions import connect
from jobs import leases
from jobs.services import tokens, workers
from jobs.services.tokens import issue_token
from jobs.services.workers import WorkerNotFound, WorkerStateConflict
from jobs.states import WORKER_TRANSITIONS, WorkerState
from tests.jobs.conftest import Jobs
from tests.jobs.test_workers.kit import (
    WHO,
    Session,
    events,
    make_provider,
    make_worker,
    silence,
    state_of,
)
from tests.meeting import at_once
from tests.processes import eventually


@pytest.mark.django_db
class TestTransitions:
    @pytest.mark.parametrize("before", WorkerState)
    def test_defect_3_3_the_table_decides(self, jobs: Jobs, before: WorkerState) -> None:
        provider = make_provider(max_workers=100)
        for to in WorkerState:
            worker = make_worker(jobs, before, provider)
            if to in WORKER_TRANSITIONS[before]:
                workers.move(worker, to, **WHO)
                assert state_of(jobs, worker) == to
                assert events(jobs)[-1] in {"WorkerStateChanged", "WorkerTerminated"}
            else:
                with pytest.raises(WorkerStateConflict, match=f"is {before} and cannot"):
                    workers.move(worker, to, **WHO)
                assert state_of(jobs, worker) == before
                assert events(jobs)[-1] == "WorkerCreated"

    def test_draining_is_one(self, jobs: Jobs) -> None:
        worker = make_worker(jobs, "BUSY")
        workers.drain(worker, **WHO)
        assert state_of(jobs, worker) == "DRAINING"
        with pytest.raises(WorkerStateConflict, match="that is for one that is READY or BUSY"):
            workers.drain(worker, **WHO)

    def test_of_an_unknown_worker(self, jobs: Jobs) -> None:
        for action in (workers.drain, workers.terminate, workers.lose_worker):
            with pytest.raises(WorkerNotFound):
                action(uuid.uuid4(), **WHO)  # type: ignore[operator]

    @pytest.mark.parametrize(
        "reason", ["\0", "\ud800", "'; DROP TABLE jobs; --", "%s", "x" * 9_999]
    )
    def test_a_hostile_reason_is_on_record(self, jobs: Jobs, reason: str) -> None:
        workers.drain(make_worker(jobs), reason=reason, actor=reason)

        assert events(jobs)[-1] == "WorkerStateChanged"


class TestEnd:
    def hold(self, jobs: Jobs, session: Session, worker: uuid.UUID) -> list[uuid.UUID]:
        found = [jobs.enqueue(1), jobs.enqueue(2)]
        leases.claim(session, worker, ["default"], 2, starting=1)
        return found

    def test_defect_3_3_losing_a_worker_puts_its_jobs_back(
        self, jobs: Jobs, session: Session
    ) -> None:
        worker = make_worker(jobs, "BUSY")
        held = self.hold(jobs, session, worker)
        silence(jobs, worker)

        assert workers.lose_worker(worker, **WHO) == 2

        assert state_of(jobs, worker) == "TERMINATED"
        assert [jobs.place(job) for job in held] == [["job_queue"], ["job_queue"]]
        rows = jobs.rows("SELECT state, lost_leases FROM jobs ORDER BY lost_leases")
        assert rows == [("PENDING", 0), ("PENDING", 1)]
        assert jobs.rows(
            "SELECT event_type, payload -> 'jobs' FROM audit_logs WHERE event_type = 'WorkerLost'"
        ) == [("WorkerLost", "2")]

    def test_all_of_it_or_nothing(self, jobs: Jobs, session: Session) -> None:
        worker = make_worker(jobs, "BUSY")
        held = self.hold(jobs, session, worker)
        silence(jobs, worker)

        with transaction.atomic():
            workers.lose_worker(worker, **WHO)
            transaction.set_rollback(True)

        assert state_of(jobs, worker) == "BUSY"
        assert [jobs.place(job) for job in held] == [["job_leases"], ["job_leases"]]
        assert "WorkerLost" not in events(jobs)

    def test_one_that_lives_is_not_lost(self, jobs: Jobs, session: Session) -> None:
        worker = make_worker(jobs, "BUSY")
        self.hold(jobs, session, worker)

        with pytest.raises(workers.WorkerAlive):
            workers.lose_worker(worker, **WHO)

        assert state_of(jobs, worker) == "BUSY"
        assert jobs.value("SELECT count(*) FROM job_leases") == 2

    def test_terminating_one_takes_its_jobs_away_even_if_it_lives(
        self, jobs: Jobs, session: Session
    ) -> None:
        worker = make_worker(jobs, "BUSY")
        other = make_worker(jobs, "BUSY")
        jobs.enqueue(0)
        leases.claim(session, other, ["default"], 1, starting=1)
        self.hold(jobs, session, worker)

        assert workers.terminate(worker, **WHO) == 2

        assert jobs.rows("SELECT worker_id FROM job_leases") == [(other,)]
        with pytest.raises(WorkerStateConflict):
            workers.heartbeat(worker)

    def test_a_finish_at_the_same_time_counts_once(self, jobs: Jobs) -> None:
        from jobs.runs import Ended
        from jobs.states import JobState

        worker = make_worker(jobs, "BUSY")
        job = jobs.enqueue(1)
        with connect("default", "test") as session:
            (claimed,) = leases.claim(session, worker, ["default"], 1, starting=1)
            session.execute("BEGIN")
            assert leases.finish(session, [Ended(job, claimed.epoch, JobState.SUCCEEDED)]) == {job}
            ended: list[Any] = []
            thread = threading.Thread(
                target=lambda: ended.extend(at_once(lambda: workers.terminate(worker, **WHO)))
            )
            thread.start()
            with connect("default", "look") as look:
                assert eventually(
                    lambda: bool(
                        look.execute(
                            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() "
                            "AND wait_event_type = 'Lock'"
                        ).fetchone()
                    )
                )
            session.execute("COMMIT")
            thread.join(30)

        assert ended == [0]
        assert jobs.state(job) == "SUCCEEDED"


class TestTwoAtOnce:
    def test_two_issued_at_once_leave_one(self, jobs: Jobs) -> None:
        worker = uuid.uuid4()

        at_once(*[lambda: issue_token(worker, actor="me")] * 4)

        assert jobs.value(
            "SELECT count(*) FROM worker_bootstrap_tokens WHERE expires_at > now()"
        ) == 1  # fmt: skip

    def test_two_at_once_use_it_once(self, jobs: Jobs) -> None:
        worker = make_worker(jobs, "CREATING")
        token = issue_token(worker, actor="me")

        outcomes = at_once(*[lambda: workers.register(worker, token=token)] * 4)

        assert outcomes.count(None) == 1
        assert sum(isinstance(one, tokens.TokenUsed) for one in outcomes) == 3

    def test_two_decide_at_once_and_one_is_told(self, jobs: Jobs) -> None:
        worker = make_worker(jobs, "READY")

        outcomes = at_once(*[lambda: workers.drain(worker, **WHO)] * 2)

        assert outcomes.count(None) == 1
        assert sum(isinstance(one, WorkerStateConflict) for one in outcomes) == 1

    def test_defect_3_3_two_at_once(self, jobs: Jobs) -> None:
        job, first, second = jobs.enqueue(1), make_worker(jobs), make_worker(jobs)

        outcomes = at_once(lambda: workers.assign(first, job), lambda: workers.assign(second, job))

        assert outcomes.count(None) == 1
        assert sum(isinstance(one, workers.JobHasWorker) for one in outcomes) == 1
        assert jobs.value("SELECT count(*) FROM workers WHERE current_job_id = %s", [job]) == 1
