"""Jobs that a saga has run: kept out of the queue, leased to one worker, taken back."""

from __future__ import annotations

import threading
import uuid
from datetime import timedelta
from typing import Any

import pytest

from jobs.registration import Identity, IdentityInvalid, identity_of
from jobs.services import lifecycle, orchestration, providers, workers
from jobs.services.lifecycle import JobNotFound
from jobs.services.queue import enqueue_many
from jobs.services.requeue import RequeueFilter, requeue
from jobs.services.tokens import TokenUsed, issue_token
from jobs.spec import NewJob
from jobs.states import JobState
from tests.jobs import executors
from tests.jobs.conftest import Jobs
from tests.jobs.kit import running
from tests.processes import eventually, manage

WHO = "tests"


def ready_worker(jobs: Jobs, concurrency: int = 1, queues: tuple[str, ...] = ()) -> uuid.UUID:
    return workers.register_local(
        resource_id="here", spec={"concurrency": concurrency, "queues": list(queues)}
    )


@pytest.mark.django_db
class TestStored:
    def test_by_one_by_many_and_by_copy(self, jobs: Jobs) -> None:
        jobs.enqueue(orchestrated=True)
        spec = {"test": {"do": "succeed"}}
        enqueue_many([NewJob(spec=spec, orchestrated=True), NewJob(spec=spec)])
        enqueue_many(NewJob(spec=spec, orchestrated=n % 2 == 0) for n in range(2_000))

        assert jobs.rows(
            "SELECT orchestrated, count(*), count(q.id) FROM jobs AS j "
            "LEFT JOIN job_queue AS q ON q.job_id = j.id GROUP BY 1 ORDER BY 1"
        ) == [(False, 1_001, 1_001), (True, 1_002, 0)]

    def test_what_people_do_with_it_keeps_it_out_of_the_queue(self, jobs: Jobs) -> None:
        job = jobs.enqueue(orchestrated=True)
        lifecycle.hold(job, reason="r", actor=WHO)
        lifecycle.release(job, reason="r", actor=WHO)
        assert (jobs.state(job), jobs.place(job)) == ("PENDING", [])

        jobs.execute("UPDATE jobs SET state = 'FAILED', completed_at = now()")
        lifecycle.retry(job, reason="r", actor=WHO)
        assert (jobs.state(job), jobs.place(job)) == ("PENDING", [])


def test_a_requeue_by_filter_keeps_it_out_of_the_queue(jobs: Jobs) -> None:
    job = jobs.enqueue(orchestrated=True)
    jobs.execute("UPDATE jobs SET state = 'FAILED', completed_at = now()")

    assert requeue(RequeueFilter(), reason="r", actor=WHO, limit=10).jobs == 1

    assert (jobs.state(job), jobs.place(job)) == ("PENDING", [])


@pytest.mark.django_db
class TestAssign:
    def test_to_the_worker_that_has_the_fewest(self, jobs: Jobs) -> None:
        one, other = ready_worker(jobs, 2), ready_worker(jobs, 2)
        found = [orchestration.assign(jobs.enqueue(orchestrated=True), actor=WHO) for _ in range(5)]

        assert found[4] is None
        given = [assignment.worker_id for assignment in found if assignment]
        assert {given.count(one), given.count(other)} == {2}
        assert given[0] != given[1]
        assert jobs.rows("SELECT state, count(*) FROM jobs GROUP BY 1 ORDER BY 1") == [
            ("ASSIGNED", 4),
            ("PENDING", 1),
        ]
        assert jobs.value("SELECT count(*) FROM audit_logs WHERE event_type = 'JobAssigned'") == 4

    @pytest.mark.parametrize(
        "obstacle",
        [
            "UPDATE workers SET state = 'DRAINING'",
            "UPDATE workers SET state = 'CONNECTING'",
            "UPDATE workers SET last_heartbeat = now() - interval '31 seconds'",
            """UPDATE workers SET spec = '{"queues": ["other"]}'""",
            "UPDATE jobs SET run_after = now() + interval '1 hour'",
            "UPDATE jobs SET state = 'CANCELLED'",
            "UPDATE jobs SET orchestrated = false",
        ],
    )
    def test_not_where_it_cannot_run(self, jobs: Jobs, obstacle: str) -> None:
        ready_worker(jobs)
        job = jobs.enqueue(orchestrated=True)
        jobs.execute(obstacle)

        assert orchestration.assign(job, actor=WHO) is None
        assert jobs.value("SELECT count(*) FROM job_leases") == 0

    def test_a_spec_that_says_nothing_of_use_is_one_job_of_any_queue(self, jobs: Jobs) -> None:
        worker = ready_worker(jobs)
        jobs.execute("""UPDATE workers SET spec = '{"queues": "all", "concurrency": "many"}'""")

        first = orchestration.assign(jobs.enqueue(orchestrated=True), actor=WHO)

        assert first is not None
        assert first.worker_id == worker
        assert orchestration.assign(jobs.enqueue(orchestrated=True), actor=WHO) is None

    def test_to_a_busy_one_where_no_other_is_there(self, jobs: Jobs) -> None:
        busy, idle = ready_worker(jobs), ready_worker(jobs)
        jobs.execute("UPDATE workers SET state = 'BUSY' WHERE id = %s", [busy])

        given = [
            assignment.worker_id
            for _ in range(2)
            if (assignment := orchestration.assign(jobs.enqueue(orchestrated=True), actor=WHO))
        ]

        assert given == [idle, busy]

    def test_only_to_the_one_that_was_asked_for(self, jobs: Jobs) -> None:
        one, other = ready_worker(jobs), ready_worker(jobs)

        for worker in (other, one):
            job = jobs.enqueue(orchestrated=True)
            assert orchestration.assign(job, actor=WHO, worker_id=worker) is not None
            assert orchestration.look(job).held_by == worker


@pytest.mark.django_db
class TestTakeBack:
    def test_what_has_not_begun(self, jobs: Jobs) -> None:
        ready_worker(jobs)
        job = jobs.enqueue(orchestrated=True)
        orchestration.assign(job, actor=WHO)

        assert orchestration.take_back(job, actor=WHO)

        assert (jobs.state(job), jobs.place(job)) == ("PENDING", [])
        told = "SELECT event_type, payload ->> 'state' FROM audit_logs ORDER BY occurred_at DESC"
        assert jobs.rows(told)[0] == ("JobReturned", "PENDING")
        assert not orchestration.take_back(job, actor=WHO)

    def test_nothing_that_runs(self, jobs: Jobs) -> None:
        ready_worker(jobs)
        job = jobs.enqueue(orchestrated=True)
        orchestration.assign(job, actor=WHO)
        jobs.execute("UPDATE jobs SET state = 'RUNNING'")

        assert not orchestration.take_back(job, actor=WHO)
        assert jobs.place(job) == ["job_leases"]

    def test_time_is_up_for_a_run_that_nobody_ends(self, jobs: Jobs) -> None:
        ready_worker(jobs)
        job = jobs.enqueue(orchestrated=True, timeout=timedelta(seconds=5))
        assert not orchestration.end_anyway(job, JobState.TIMEOUT, reason="too late", actor=WHO)
        orchestration.assign(job, actor=WHO)
        jobs.execute(
            "UPDATE jobs SET state = 'RUNNING', attempts = 1, "
            "started_at = now() - interval '1 minute'"
        )
        seen = orchestration.look(job)
        assert seen.timeout == 5.0
        assert seen.running_for is not None
        assert seen.running_for >= 60

        assert orchestration.end_anyway(job, JobState.TIMEOUT, reason="too late", actor=WHO)

        assert (jobs.state(job), jobs.place(job)) == ("TIMEOUT", [])
        assert jobs.rows("SELECT kind, message FROM job_failed_attempts") == [
            ("ExecutionTimeout", "too late")
        ]

    def test_a_job_that_is_not_there_is_said(self, jobs: Jobs) -> None:
        with pytest.raises(JobNotFound):
            orchestration.look(uuid.uuid4())


class TestWorker:
    def test_runs_what_is_leased_to_it_and_nothing_else(self, jobs: Jobs) -> None:
        worker = jobs.worker()
        with running(worker):
            job, left = jobs.enqueue(1, orchestrated=True), jobs.enqueue(2, orchestrated=True)
            assert eventually(lambda: orchestration.assign(job, actor=WHO) is not None)
            assert eventually(lambda: jobs.state(job) == "SUCCEEDED")

        assert executors.ran == [1]
        assert jobs.state(left) == "PENDING"

    def test_a_run_that_failed_waits_for_its_saga(self, jobs: Jobs) -> None:
        job = jobs.enqueue(1, "fail", orchestrated=True, retry_in=0.0)
        with running(jobs.worker()):
            assert eventually(lambda: orchestration.assign(job, actor=WHO) is not None)
            assert eventually(lambda: jobs.value("SELECT count(*) FROM job_failed_attempts") == 1)
            seen = orchestration.look(job)

        assert (seen.state, seen.is_due) == ("PENDING", True)
        assert jobs.place(job) == []

    def test_one_whose_worker_is_lost_waits_for_its_saga(self, jobs: Jobs) -> None:
        worker = ready_worker(jobs)
        job = jobs.enqueue(orchestrated=True)
        orchestration.assign(job, actor=WHO)
        # For the third time: one of the queue would wait for a while, to be apart from others.
        jobs.execute("UPDATE jobs SET state = 'RUNNING', attempts = 1, lost_leases = 2")

        workers.terminate(worker, reason="gone", actor=WHO)

        seen = orchestration.look(job)
        assert (seen.state, seen.is_due, seen.worker_id) == ("PENDING", True, worker)
        assert jobs.place(job) == []

    def test_what_it_has_not_found_when_it_ends_is_given_back(
        self, jobs: Jobs, settings: Any
    ) -> None:
        settings.JOBS_AUDIT = "all"
        worker = jobs.worker()
        worker._assignments.take = lambda session, **_options: []  # type: ignore[method-assign]
        with running(worker):
            job = jobs.enqueue(orchestrated=True)
            assert eventually(lambda: orchestration.assign(job, actor=WHO) is not None)

        assert (jobs.state(job), jobs.place(job)) == ("PENDING", [])
        assert jobs.value("SELECT lost_leases FROM jobs") == 0
        assert jobs.rows(
            "SELECT payload ->> 'worker_id' FROM audit_logs WHERE event_type = 'JobReturned'"
        ) == [(str(worker.id),)]


class TestIdentity:
    @pytest.fixture
    def invited(self, jobs: Jobs) -> Identity:
        provider, worker = uuid.uuid4(), uuid.uuid4()
        providers.save(provider, name="p", provider_type="process", actor=WHO)
        workers.create(
            worker, provider_id=provider, resource_id="r", actor=WHO, spec={"concurrency": 1}
        )
        return Identity(worker_id=worker, token=issue_token(worker, actor=WHO))

    def test_a_worker_registers_with_its_token(self, jobs: Jobs, invited: Identity) -> None:
        job = jobs.enqueue(1, orchestrated=True)
        with running(jobs.worker(identity=invited)):
            assert eventually(lambda: orchestration.assign(job, actor=WHO) is not None)
            assert eventually(lambda: jobs.state(job) == "SUCCEEDED")

        assert jobs.rows("SELECT id, state FROM workers") == [(invited.worker_id, "TERMINATED")]
        assert invited.token not in repr(invited)

    def test_a_token_is_good_for_one_process(self, jobs: Jobs, invited: Identity) -> None:
        workers.register(invited.worker_id, token=invited.token)
        refused: list[BaseException] = []

        def run() -> None:
            try:
                jobs.worker(identity=invited).run()
            except TokenUsed as error:
                refused.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join(30)

        assert len(refused) == 1
        assert jobs.rows("SELECT state FROM workers") == [("CONNECTING",)]

    def test_the_variables_are_read_and_the_token_is_removed(self) -> None:
        worker = uuid.uuid4()
        environ = {"HODEI_WORKER_ID": str(worker), "HODEI_WORKER_TOKEN": "id.secret"}

        assert identity_of(environ) == Identity(worker_id=worker, token="id.secret")
        assert "HODEI_WORKER_TOKEN" not in environ
        assert identity_of({}) is None

    @pytest.mark.parametrize(
        ("environ", "words"),
        [
            ({"HODEI_WORKER_ID": str(uuid.uuid4())}, "HODEI_WORKER_TOKEN is not"),
            ({"HODEI_WORKER_TOKEN": "id.secret"}, "HODEI_WORKER_ID is not"),
            ({"HODEI_WORKER_ID": "me", "HODEI_WORKER_TOKEN": "id.secret"}, "'me'"),
        ],
    )
    def test_half_an_identity_is_none(self, environ: dict[str, str], words: str) -> None:
        with pytest.raises(IdentityInvalid, match=words) as refused:
            identity_of(environ)
        assert "secret" not in str(refused.value)

    @pytest.mark.process
    def test_the_command_says_what_is_wrong_and_ends(self) -> None:
        done = manage(
            "jobs_worker",
            SECRET_KEY="k" * 60,
            HODEI_WORKER_ID="me",
            HODEI_WORKER_TOKEN="id.secret",
            HODEI_EMBEDDED="1",
        )

        assert done.returncode == 2
        assert done.stderr.splitlines()[-1] == (
            "CommandError: HODEI_WORKER_ID is 'me'; it is the worker's uuid."
        )


def test_every_state_of_the_index_is_a_state() -> None:
    from jobs.models import Job
    from jobs.states import JOB_FINAL, JobState

    (index,) = [one for one in Job._meta.indexes if one.name == "jobs_orchestrated_idx"]
    condition: Any = dict(index.condition.children)  # type: ignore[union-attr]
    assert set(condition["state__in"]) <= set(JobState) - JOB_FINAL
