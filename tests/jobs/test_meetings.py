"""Whoever reads and then writes, met by somebody who does so at the same moment: one of the two is
told, nothing is done twice, no job is in two places, and nobody waits crosswise."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import transaction

from hodei.sessions import connect
from jobs import leases, registration
from jobs.runs import Ended
from jobs.services import lifecycle, providers, requeue, retention, schedules, tokens, workers
from jobs.services.lifecycle import CancelOutcome, JobNotFound, JobStateConflict
from jobs.services.queue import enqueue
from jobs.states import JobState, ProviderStatus
from jobs.ticker import tick
from tests.jobs.conftest import Jobs
from tests.meeting import in_turns

WHO: dict[str, Any] = {"reason": "why", "actor": "who"}
SPEC = {"test": {"do": "succeed", "n": 0}}
REFUSED = (JobStateConflict, JobNotFound)
#: Where a job in a state is to be found, and nowhere else.
PLACES = {
    "PENDING": {"job_queue", "job_queue_deferred"},
    "ASSIGNED": {"job_leases"},
    "RUNNING": {"job_leases"},
}


def in_place(jobs: Jobs, job: uuid.UUID) -> bool:
    """Whether the job is where its state says, and there once; or is gone with all its places."""
    rows = jobs.rows("SELECT state FROM jobs WHERE id = %s", [job])
    found = jobs.place(job)
    if not rows or rows[0][0] not in PLACES:
        return found == []
    return len(found) == 1 and set(found) <= PLACES[rows[0][0]]


def session(do: Callable[..., Any]) -> Callable[..., Any]:
    """Let it have a connection as a worker has it."""

    def with_session(*given: Any) -> Any:
        with connect("default", "meeting") as own:
            return do(own, *given)

    return with_session


@session
def claim(own: Any, _job: Any = None, *, starting: int = 5) -> list[uuid.UUID]:
    return [one.id for one in leases.claim(own, uuid.uuid4(), ["default"], 5, starting=starting)]


@session
def assign(own: Any, _job: Any = None) -> list[uuid.UUID]:
    return [one.id for one in leases.claim(own, uuid.uuid4(), ["default"], 5, starting=0)]


@session
def promote(own: Any, _job: Any = None) -> int:
    return leases.promote(own)


@session
def rescue(own: Any, _job: Any = None) -> int:
    return len(leases.rescue(own))


@session
def ticked(own: Any, _schedule: Any = None) -> int:
    return tick(own)


def ending(state: JobState, **values: Any) -> Callable[[Any], set[uuid.UUID]]:
    @session
    def finish(own: Any, job: uuid.UUID) -> set[uuid.UUID]:
        ((epoch,),) = own.execute(
            "SELECT epoch FROM job_leases WHERE job_id = %s", [job]
        ).fetchall()
        return leases.finish(own, [Ended(job, epoch, state, **values)])

    return finish


class Prepared:
    """Jobs in the states in which they are met."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs

    def waiting(self) -> uuid.UUID:
        return self.jobs.enqueue()

    def due(self) -> uuid.UUID:
        job = self.jobs.enqueue()
        self.jobs.execute("DELETE FROM job_queue WHERE job_id = %s", [job])
        self.jobs.execute(
            "INSERT INTO job_queue_deferred (job_id, run_after) VALUES (%s, now())", [job]
        )
        return job

    def running(self) -> uuid.UUID:
        job = self.jobs.enqueue()
        assert claim() == [job]
        return job

    def assigned(self) -> uuid.UUID:
        job = self.jobs.enqueue()
        assert assign() == [job]
        return job

    def lost(self) -> uuid.UUID:
        job = self.running()
        self.jobs.execute("UPDATE job_leases SET expires_at = now() - interval '1 s'")
        return job

    def failed(self) -> uuid.UUID:
        job = self.jobs.enqueue()
        self.jobs.execute("DELETE FROM job_queue WHERE job_id = %s", [job])
        self.jobs.execute(
            "UPDATE jobs SET state = 'FAILED', created_at = now() - interval '2 h', "
            "completed_at = now() - interval '1 h' WHERE id = %s",
            [job],
        )
        return job

    def held(self) -> uuid.UUID:
        job = self.jobs.enqueue()
        lifecycle.hold(job, **WHO)
        return job


def by_a_person(act: Callable[..., Any]) -> Callable[[Any], Any]:
    def decide(job: uuid.UUID) -> Any:
        return act(job, **WHO)

    decide.__name__ = act.__name__
    return decide


def urgent(job: uuid.UUID) -> None:
    lifecycle.set_priority(job, 50, **WHO)


AGAIN = ending(JobState.PENDING, seconds=60.0)
AT_ONCE = ending(JobState.PENDING, seconds=0.0)
DONE = ending(JobState.SUCCEEDED)
cancel, hold, delete, retry, release = map(
    by_a_person,
    (lifecycle.cancel, lifecycle.hold, lifecycle.delete, lifecycle.retry, lifecycle.release),
)
PAIRS: list[tuple[str, Any, str, Any]] = [
    ("cancel, claim", cancel, "waiting", claim),
    ("hold, claim", hold, "waiting", claim),
    ("hold, assign", hold, "waiting", assign),
    ("delete, claim", delete, "waiting", claim),
    ("priority, claim", urgent, "waiting", claim),
    ("cancel, promote", cancel, "due", promote),
    ("hold, promote", hold, "due", promote),
    ("delete, promote", delete, "due", promote),
    ("priority, promote", urgent, "due", promote),
    ("cancel, finish", cancel, "running", DONE),
    ("cancel, retry later", cancel, "running", AGAIN),
    ("cancel, retry at once", cancel, "running", AT_ONCE),
    ("hold, retry later", hold, "running", AGAIN),
    ("hold, retry at once", hold, "running", AT_ONCE),
    ("hold, give back", hold, "assigned", AT_ONCE),
    ("priority, retry later", urgent, "running", AGAIN),
    ("priority, retry at once", urgent, "running", AT_ONCE),
    ("delete, finish", delete, "running", DONE),
    ("delete, retry later", delete, "running", AGAIN),
    ("cancel, rescue", cancel, "lost", rescue),
    ("hold, rescue", hold, "lost", rescue),
    ("delete, rescue", delete, "lost", rescue),
    ("finish, rescue", DONE, "lost", rescue),
    ("retry, retry", retry, "failed", retry),
    ("retry, delete", retry, "failed", delete),
    ("release, release", release, "held", release),
    ("release, cancel", release, "held", cancel),
    ("release, delete", release, "held", delete),
    ("cancel, cancel", cancel, "waiting", cancel),
    ("cancel, hold", cancel, "waiting", hold),
    ("hold, hold", hold, "waiting", hold),
    ("delete, delete", delete, "waiting", delete),
    ("claim, claim", claim, "waiting", claim),
    ("promote, promote", promote, "due", promote),
]


@pytest.mark.parametrize(
    ("first", "state", "second"), [pytest.param(*rest, id=name) for name, *rest in PAIRS]
)
def test_a_job_is_where_its_state_says(jobs: Jobs, first: Any, state: str, second: Any) -> None:
    found: list[tuple[uuid.UUID, Any, Any]] = []
    for job, one, other in in_turns(first, second, prepare=getattr(Prepared(jobs), state)):
        for outcome in (one, other):
            assert not isinstance(outcome, Exception) or isinstance(outcome, (*REFUSED, ValueError))
        assert in_place(jobs, job), (one, other, jobs.state(job), jobs.place(job))
        found.append((job, one, other))
        jobs.execute("DELETE FROM jobs")

    assert found


@pytest.mark.parametrize("second", [promote, AGAIN, AT_ONCE], ids=["promote", "later", "at once"])
def test_a_priority_that_was_changed_is_the_one_it_waits_with(jobs: Jobs, second: Any) -> None:
    prepared = Prepared(jobs)
    make = prepared.due if second is promote else prepared.running
    for job, one, _other in in_turns(urgent, second, prepare=make):
        wanted = 0 if isinstance(one, JobStateConflict) else 50
        assert jobs.rows(
            "SELECT j.priority, coalesce(q.priority, d.priority) FROM jobs AS j "
            "LEFT JOIN job_queue AS q ON q.job_id = j.id "
            "LEFT JOIN job_queue_deferred AS d ON d.job_id = j.id WHERE j.id = %s",
            [job],
        ) == [(wanted, wanted)]
        jobs.execute("DELETE FROM jobs")


@pytest.mark.parametrize("again", [AGAIN, AT_ONCE], ids=["later", "at once"])
def test_a_run_that_would_go_back_leaves_no_cancel_unheard(jobs: Jobs, again: Any) -> None:
    for job, _one, _other in in_turns(cancel, again, prepare=Prepared(jobs).running):
        assert jobs.state(job) == "CANCELLED"
        assert jobs.place(job) == []


@pytest.mark.parametrize(("act", "state"), [(retry, "failed"), (release, "held"), (delete, "held")])
def test_what_two_people_do_is_done_once(jobs: Jobs, act: Any, state: str) -> None:
    for _job, one, other in in_turns(act, act, prepare=getattr(Prepared(jobs), state)):
        assert sorted(isinstance(outcome, REFUSED) for outcome in (one, other)) == [False, True]


def test_of_two_cancels_of_one_run_both_are_heard(jobs: Jobs) -> None:
    for job, one, other in in_turns(cancel, cancel, prepare=Prepared(jobs).running):
        assert (one, other) == (CancelOutcome.REQUESTED, CancelOutcome.REQUESTED)
        assert jobs.place(job) == ["job_leases"]


class TestKeys:
    def test_a_key_whose_first_transaction_rolls_back_is_free(self, jobs: Jobs) -> None:
        def rolled_back(key: str) -> None:
            with transaction.atomic():
                enqueue(spec=SPEC, idempotency_key=key)
                transaction.set_rollback(True)

        def stored(key: str) -> Any:
            return enqueue(spec=SPEC, idempotency_key=key)

        for key, _one, other in in_turns(rolled_back, stored, prepare=lambda: str(uuid.uuid4())):
            assert jobs.rows("SELECT id FROM jobs WHERE idempotency_key = %s", [key]) == [
                (other.id,)
            ]
            assert other.is_new

    def test_of_two_with_one_key_both_get_the_same_job(self, jobs: Jobs) -> None:
        def stored(key: str) -> Any:
            return enqueue(spec=SPEC, idempotency_key=key)

        for _key, one, other in in_turns(stored, stored, prepare=lambda: str(uuid.uuid4())):
            assert one.id == other.id
            assert {one.is_new, other.is_new} == {True, False}


class TestManyAtOnce:
    def test_what_is_pruned_is_not_requeued_and_what_is_requeued_stays(self, jobs: Jobs) -> None:
        def prune(_job: uuid.UUID) -> int:
            keep = retention.Keep(
                jobs={JobState.FAILED: timedelta()}, audit=None, workers=None, tokens=None,
                logs=False,
            )  # fmt: skip
            return sum(one.rows for one in retention.prune(keep))

        def again(_job: uuid.UUID) -> int:
            return requeue.requeue(requeue.RequeueFilter(), limit=100, **WHO).jobs

        for job, pruned, requeued in in_turns(prune, again, prepare=Prepared(jobs).failed):
            assert (pruned, requeued) in {(1, 0), (0, 1)}
            assert in_place(jobs, job)
            jobs.execute("DELETE FROM jobs")

    def test_of_two_requeues_each_job_is_in_one(self, jobs: Jobs) -> None:
        def again(_job: uuid.UUID) -> int:
            return requeue.requeue(requeue.RequeueFilter(), limit=100, **WHO).jobs

        for job, one, other in in_turns(again, again, prepare=Prepared(jobs).failed):
            assert one + other == 1
            assert in_place(jobs, job)


class TestSchedules:
    def _due(self, jobs: Jobs) -> str:
        name = f"s{uuid.uuid4().hex[:8]}"
        schedules.add(name, cron="0 0 1 1 *", spec=SPEC, actor="who", overlap="REPLACE")
        jobs.execute(
            "UPDATE job_schedules SET next_run_at = date_trunc('minute', now()) WHERE name = %s",
            [name],
        )
        return name

    @pytest.mark.parametrize("what", ["change", "disable", "remove"])
    def test_one_that_is_changed_while_it_is_due_runs_once_or_not(
        self, jobs: Jobs, what: str
    ) -> None:
        def change(name: str) -> Any:
            options = {"time_zone": "Europe/Madrid"} if what == "change" else {}
            return getattr(schedules, what)(name, actor="who", **options)

        for name, one, ran in in_turns(change, ticked, prepare=lambda: self._due(jobs)):
            assert not isinstance(one, Exception)
            assert ran in {0, 1}
            assert jobs.value("SELECT count(*) FROM jobs WHERE name = %s", [name]) == ran
            if what == "remove":
                assert jobs.value("SELECT count(*) FROM job_schedules WHERE name = %s", [name]) == 0
            else:
                assert jobs.value(
                    "SELECT next_run_at > now() OR NOT enabled FROM job_schedules WHERE name = %s",
                    [name],
                )

    def test_two_that_tick_enqueue_once(self, jobs: Jobs) -> None:
        for name, one, other in in_turns(ticked, ticked, prepare=lambda: self._due(jobs)):
            assert one + other == 1
            assert jobs.value("SELECT count(*) FROM jobs WHERE name = %s", [name]) == 1

    def test_what_it_replaces_may_end_at_the_same_moment(self, jobs: Jobs) -> None:
        """Two whose last jobs run on one worker, which finishes both in one statement."""

        def prepare() -> list[str]:
            names = sorted(self._due(jobs) for _ in range(4))
            assert ticked() == 4
            assert len(claim()) == 4
            jobs.execute("UPDATE job_schedules SET next_run_at = date_trunc('minute', now()) "
                         "+ interval '1 us'")  # fmt: skip
            return names

        @session
        def finish(own: Any, _names: Any) -> int:
            held = own.execute(
                "SELECT job_id, epoch FROM job_leases ORDER BY job_id DESC"
            ).fetchall()
            return len(leases.finish(own, [Ended(*one, JobState.SUCCEEDED) for one in held]))

        for _names, ran, ended in in_turns(ticked, finish, prepare=prepare):
            assert (ran, ended) == (4, 4)
            assert jobs.value("SELECT count(*) FROM jobs WHERE state = 'SUCCEEDED'") == 4
            jobs.execute("DELETE FROM jobs; DELETE FROM job_schedules")


class TestWorkers:
    def _provider(self, **options: Any) -> uuid.UUID:
        found = uuid.uuid4()
        given = {"name": str(found), "provider_type": "process", "actor": "who", **options}
        providers.save(found, **given)
        return found

    def test_none_is_made_for_a_provider_that_was_disabled_before(self, jobs: Jobs) -> None:
        def disable(provider: uuid.UUID) -> Any:
            return providers.disable(provider, **WHO)

        def create(provider: uuid.UUID) -> Any:
            workers.create(uuid.uuid4(), provider_id=provider, resource_id="r", actor="who")

        for provider, one, other in in_turns(disable, create, prepare=self._provider):
            assert one is True
            assert other is None or isinstance(other, providers.ProviderNotActive)
            assert jobs.value(
                "SELECT count(*) FROM workers WHERE provider_id = %s", [provider]
            ) == (other is None)

    def test_one_place_is_had_by_one(self, jobs: Jobs) -> None:
        def create(provider: uuid.UUID) -> Any:
            workers.create(uuid.uuid4(), provider_id=provider, resource_id="r", actor="who")

        for _provider, one, other in in_turns(
            create, create, prepare=lambda: self._provider(max_workers=1)
        ):
            refused = [isinstance(found, providers.ProviderFull) for found in (one, other)]
            assert sorted(refused) == [False, True]

    def test_a_provider_is_deleted_or_has_a_worker(self, jobs: Jobs) -> None:
        def remove(provider: uuid.UUID) -> Any:
            return providers.delete(provider, **WHO)

        def create(provider: uuid.UUID) -> Any:
            workers.create(uuid.uuid4(), provider_id=provider, resource_id="r", actor="who")

        for _provider, one, other in in_turns(remove, create, prepare=self._provider):
            assert isinstance(one, providers.ProviderInUse) or isinstance(
                other, providers.ProviderNotFound
            )
            assert one is None or other is None

    def test_a_status_is_changed_once(self, jobs: Jobs) -> None:
        def disable(provider: uuid.UUID) -> Any:
            return providers.set_status(provider, ProviderStatus.DISABLED, **WHO)

        for _provider, one, other in in_turns(disable, disable, prepare=self._provider):
            assert {one, other} == {True, False}

    def test_of_two_changes_by_the_command_neither_is_lost(self, jobs: Jobs) -> None:
        def change(*words: str) -> Callable[[uuid.UUID], None]:
            return lambda provider: call_command(
                "jobs_provider", "change", str(provider), *words, stdout=StringIO()
            )

        one, other = change("--priority", "7"), change("--max-workers", "3")
        for provider, *errors in in_turns(one, other, prepare=self._provider):
            assert errors == [None, None]
            assert jobs.rows(
                "SELECT priority, max_workers FROM provider_configs WHERE id = %s", [provider]
            ) == [(7, 3)]

    def test_a_token_lets_one_in(self, jobs: Jobs) -> None:
        def prepare() -> tuple[uuid.UUID, str, uuid.UUID]:
            worker = uuid.uuid4()
            return worker, tokens.issue_token(worker, actor="who"), self._provider()

        def register(about: Any) -> Any:
            worker, token, provider = about
            return workers.register(worker, token=token, provider_id=provider)

        for _about, one, other in in_turns(register, register, prepare=prepare):
            assert sorted(type(found).__name__ for found in (one, other)) == [
                "NoneType",
                "TokenUsed",
            ]

    def test_of_two_tokens_of_a_worker_one_is_live(self, jobs: Jobs) -> None:
        def issue(worker: uuid.UUID) -> str:
            return tokens.issue_token(worker, actor="who")

        for worker, one, other in in_turns(issue, issue, prepare=uuid.uuid4):
            assert one != other
            assert (
                jobs.value(
                    "SELECT count(*) FROM worker_bootstrap_tokens WHERE worker_id = %s "
                    "AND expires_at > clock_timestamp()",
                    [worker],
                )
                == 1
            )

    def test_the_first_two_of_a_new_database_are_both_let_in(self, jobs: Jobs) -> None:
        def prepare() -> None:
            jobs.execute("DELETE FROM workers; DELETE FROM provider_configs")

        def enter(_nothing: None) -> uuid.UUID:
            return workers.register_local(resource_id="r")

        for _nothing, one, other in in_turns(enter, enter, prepare=prepare):
            assert jobs.rows("SELECT count(*), count(DISTINCT provider_id) FROM workers") == [
                (2, 1)
            ]
            assert {one, other} == {row[0] for row in jobs.rows("SELECT id FROM workers")}

    def test_the_first_two_processes_of_a_new_database_are_both_let_in(self, jobs: Jobs) -> None:
        def prepare() -> None:
            jobs.execute("DELETE FROM workers; DELETE FROM provider_configs")

        @session
        def enter(own: Any, _nothing: None) -> None:
            with own.transaction():
                registration.enter_local(own, uuid.uuid4(), {})

        for _nothing, one, other in in_turns(enter, enter, prepare=prepare):
            assert (one, other) == (None, None)
            assert jobs.rows("SELECT count(*), count(DISTINCT provider_id) FROM workers") == [
                (2, 1)
            ]

    def test_of_two_with_one_id_one_is_let_in(self, jobs: Jobs) -> None:
        def enter(worker: uuid.UUID) -> uuid.UUID:
            return workers.register_local(resource_id="r", worker_id=worker)

        for worker, one, other in in_turns(enter, enter, prepare=uuid.uuid4):
            assert sorted(type(found).__name__ for found in (one, other)) == [
                "UUID",
                "WorkerStateConflict",
            ]
            assert jobs.value("SELECT state FROM workers WHERE id = %s", [worker]) == "READY"

    def test_one_that_drains_takes_no_job(self, jobs: Jobs) -> None:
        def prepare() -> tuple[uuid.UUID, uuid.UUID]:
            return workers.register_local(resource_id="r"), enqueue(spec=SPEC).id

        def drain(about: Any) -> Any:
            return workers.drain(about[0], **WHO)

        def take(about: Any) -> Any:
            return workers.assign(*about)

        for about, one, other in in_turns(drain, take, prepare=prepare):
            assert one is None
            assert other is None or isinstance(other, workers.WorkerStateConflict)
            assert jobs.rows(
                "SELECT state, current_job_id IS NULL FROM workers WHERE id = %s", [about[0]]
            ) == [("DRAINING", other is not None)]

    def test_one_that_ends_twice_ends_once(self, jobs: Jobs) -> None:
        def end(worker: uuid.UUID) -> Any:
            return workers.terminate(worker, **WHO)

        def prepare() -> uuid.UUID:
            return workers.register_local(resource_id="r")

        for _worker, one, other in in_turns(end, end, prepare=prepare):
            assert sorted(type(found).__name__ for found in (one, other)) == [
                "WorkerStateConflict",
                "int",
            ]

    def test_its_job_may_be_deleted_as_it_takes_it(self, jobs: Jobs) -> None:
        def prepare() -> tuple[uuid.UUID, uuid.UUID]:
            return workers.register_local(resource_id="r"), enqueue(spec=SPEC).id

        def take(about: Any) -> Any:
            return workers.assign(*about)

        def remove(about: Any) -> Any:
            return lifecycle.delete(about[1], **WHO)

        for _about, one, other in in_turns(take, remove, prepare=prepare):
            assert one is None or isinstance(one, JobNotFound)
            assert other is None
