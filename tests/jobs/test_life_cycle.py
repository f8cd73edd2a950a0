"""Jobs are enqueued, run, lost and decided upon, in any order: they are where a plain model says.

The model says of each job in which one of the small tables it is, how many attempts it has spent,
and what the audit tells of it. So nothing is lost, nothing is in two places, nothing ends twice.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from jobs import leases, retry, telling
from jobs.runs import Cancelled, Claimed, Failed, Outcome, Snoozed, Succeeded, TimedOut
from jobs.services import lifecycle, queue
from jobs.services.lifecycle import JobNotFound, JobStateConflict
from jobs.services.queue import enqueue, enqueue_many
from jobs.services.requeue import RequeueFilter, requeue
from jobs.spec import NewJob
from jobs.states import JOB_FINAL, JOB_TRANSITIONS, FailureKind, JobState
from jobs.testing import _OnDjangosConnection
from tests.jobs.conftest import Jobs

WHO: dict[str, Any] = {"reason": "as agreed", "actor": "ada"}
WORKER = uuid.UUID(int=7)
SPEC = {"test": {"do": "succeed"}}
QUEUE, LATER, LEASE = "job_queue", "job_queue_deferred", "job_leases"
FINAL = {state.value for state in JOB_FINAL}
HELD = {"ASSIGNED", "RUNNING"}
HELD_BACK = "MANUAL_INTERVENTION_REQUIRED"
#: On record, and no transition.
NO_EVENTS = {"JobCancelRequested", "JobPriorityChanged"}
OUTCOMES: dict[str, Callable[[], Outcome]] = {
    "succeed": lambda: Succeeded({"n": 1}),
    "fail": lambda: Failed(FailureKind.UNKNOWN, "no", retryable=False),
    "again": lambda: Failed(FailureKind.UNKNOWN, "no", retry_in=0.0),
    "again later": lambda: Failed(FailureKind.UNKNOWN, "no", retry_in=60.0),
    "time out": lambda: TimedOut("late", retryable=False),
    "snooze": lambda: Snoozed(0.0),
    "snooze later": lambda: Snoozed(60.0),
    "cancelled": Cancelled,
}


PLACES = count()


@dataclass
class Model:
    """One job, as it should be."""

    priority: int
    place: str | None
    state: str = "PENDING"
    attempts: int = 0
    most: int = 2
    lost: int = 0
    is_cancel_requested: bool = False
    told: list[str] = field(default_factory=lambda: ["JobEnqueued"])
    #: Where it stands in the queue, or stood before it was claimed.
    stands: int = field(default_factory=lambda: next(PLACES))

    def become(
        self, state: str, told: str, place: str | None = None, *, keeps_place: bool = False
    ) -> None:
        before = JobState(self.state)
        assert before == state or JobState(state) in JOB_TRANSITIONS[before]
        self.state, self.place = state, place
        if place == QUEUE and not keeps_place:
            self.stands = next(PLACES)
        self.told.append(told)
        if place != LEASE:
            self.is_cancel_requested = False

    def begin_anew(self, told: str) -> None:
        self.become("PENDING", told, QUEUE)
        self.lost, self.most = 0, max(self.most, self.attempts + 1)


class LifeCycle(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.jobs = Jobs()
        self.session: Any = _OnDjangosConnection("default")
        self.models: dict[uuid.UUID, Model] = {}
        self.keys: dict[str, uuid.UUID] = {}
        #: What the workers believe to hold, what they lost since among it.
        self.held: dict[tuple[uuid.UUID, int], Claimed] = {}
        self.deleted: set[uuid.UUID] = set()

    @initialize()
    def begin(self) -> None:
        self.savepoint = connection.savepoint()
        for _ in range(3):
            self.models[enqueue(spec=SPEC, max_attempts=2).id] = Model(priority=0, place=QUEUE)
        self.take(number=2, starting=1)

    def teardown(self) -> None:
        if hasattr(self, "savepoint"):
            try:
                self.told_as_it_was()
            finally:
                connection.savepoint_rollback(self.savepoint)

    # --- enqueue -------------------------------------------------------------------------------

    @rule(
        priority=st.integers(-1, 1),
        is_later=st.booleans(),
        key=st.sampled_from([None, None, None, "a", "b"]),
        by_many=st.booleans(),
    )
    def enqueue(self, priority: int, is_later: bool, key: str | None, by_many: bool) -> None:
        given: dict[str, Any] = {
            "spec": SPEC,
            "priority": priority,
            "idempotency_key": key,
            "max_attempts": 2,
            "run_after": self.jobs.value("SELECT now() + interval '1 hour'") if is_later else None,
        }
        known = self.keys.get(key) if key else None
        if by_many:
            ids: list[uuid.UUID] = []
            counts = enqueue_many([NewJob(**given)], on_batch=ids.extend)
            assert (counts.enqueued, counts.known) == (int(not known), int(bool(known)))
            found = ids[0] if ids else known
        else:
            one = enqueue(**given)
            assert one.is_new == (known is None)
            found = one.id
        if known:
            assert found == known
            return
        assert found is not None
        self.models[found] = Model(priority=priority, place=LATER if is_later else QUEUE)
        if key:
            self.keys[key] = found

    @rule()
    def time_passes(self) -> None:
        """The clock is the database's: what waits is due, and moves into the queue."""
        self.jobs.execute("UPDATE job_queue_deferred SET run_after = now() - interval '1 second'")
        by_rank = sorted(self.models.items(), key=lambda one: (-one[1].priority, one[0]))
        waiting = [model for _, model in by_rank if model.place == LATER]

        assert leases.promote(self.session) == len(waiting)

        for model in waiting:
            model.become("PENDING", "JobPromoted", QUEUE)
        assert leases.promote(self.session) == 0

    # --- the workers ---------------------------------------------------------------------------

    @rule(number=st.integers(1, 3), starting=st.integers(0, 3))
    def claim(self, number: int, starting: int) -> None:
        self.take(number, starting)

    def take(self, number: int, starting: int) -> None:
        ready = [model.priority for model in self.models.values() if model.place == QUEUE]
        found = leases.claim(self.session, WORKER, ["default"], number, starting=starting)

        assert [job.priority for job in found] == sorted(ready, reverse=True)[:number]
        assert [job.started for job in found] == [place < starting for place in range(len(found))]
        for job in found:
            model = self.models[job.id]
            assert model.state == "PENDING"
            if job.started:
                model.attempts += 1
                model.become("RUNNING", "JobStarted", LEASE)
            else:
                model.become("ASSIGNED", "JobAssigned", LEASE)
            assert job.attempts == model.attempts
            self.held[job.id, job.epoch] = job

    def is_ours(self, job: Claimed) -> bool:
        """Whether the lease is there, as the database has it."""
        return bool(
            self.jobs.rows(
                "SELECT FROM job_leases WHERE job_id = %s AND epoch = %s", [job.id, job.epoch]
            )
        )

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def start(self, data: Any) -> None:
        job = self.choose(data)
        model = self.models.get(job.id)
        may = self.is_ours(job) and model is not None and model.state == "ASSIGNED"

        begun = leases.start(self.session, [job])

        assert [one.id for one in begun] == ([job.id] if may else [])
        if may and model is not None:
            model.attempts += 1
            model.become("RUNNING", "JobStarted", LEASE)
            self.held[job.id, job.epoch] = begun[0]

    @precondition(lambda self: self.held)
    @rule(data=st.data(), how=st.sampled_from(sorted(OUTCOMES)))
    def finish(self, data: Any, how: str) -> None:
        """Also what was lost meanwhile, and what is told twice."""
        job = self.choose(data)
        model, ours = self.models.get(job.id), self.is_ours(job)
        if job.started:
            ended = retry.end(job, OUTCOMES[how](), rng=Random(1))
        else:
            ended = retry.returned(job)

        assert leases.finish(self.session, [ended]) == ({job.id} if ours else set())

        if not ours:
            return
        assert model is not None
        if model.state in FINAL:
            model.place = None  # it was completed in a transaction of its own
            return
        # A worker does not return what it has begun; the machine may.
        self.ended(model, job, how)

    def ended(self, model: Model, job: Claimed, how: str) -> None:
        goes_back = how.startswith("again") and job.attempts < job.max_attempts
        if job.started and how.startswith("snooze"):
            model.attempts -= 1
            goes_back = True
        if model.is_cancel_requested and (goes_back or not job.started):
            model.become("CANCELLED", "JobCancelled")
        elif not job.started:
            model.become("PENDING", "JobReturned", QUEUE, keeps_place=True)
        elif how.startswith("snooze"):
            model.become("PENDING", "JobReturned", LATER if "later" in how else QUEUE)
        elif goes_back:
            model.become("PENDING", "JobRetryScheduled", LATER if "later" in how else QUEUE)
        else:
            state, told = {
                "succeed": ("SUCCEEDED", "JobSucceeded"),
                "time out": ("TIMEOUT", "JobTimedOut"),
                "cancelled": ("CANCELLED", "JobCancelled"),
            }.get(how, ("FAILED", "JobFailed"))
            model.become(state, told)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def complete_in_transaction(self, data: Any) -> None:
        job = self.choose(data)
        model = self.models.get(job.id)
        may = self.is_ours(job) and model is not None and model.state == "RUNNING"
        rows = self.session.execute(
            telling.text("complete"), {"id": job.id, "epoch": job.epoch, "result": "7"}
        ).fetchall()

        assert bool(rows) == may
        if may and model is not None:
            model.become("SUCCEEDED", "JobSucceeded", LEASE)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def renew(self, data: Any) -> None:
        job = self.choose(data)
        ours, model = self.is_ours(job), self.models.get(job.id)

        kept = leases.renew(self.session, [(job.id, job.epoch)])

        assert kept == ({job.id: model.is_cancel_requested} if ours and model else {})

    @precondition(lambda self: any(one.place == LEASE for one in self.models.values()))
    @rule(data=st.data(), is_taken=st.booleans())
    def lose_its_worker(self, data: Any, is_taken: bool) -> None:
        """And perhaps another one takes it before the first one comes back to life."""
        leased = sorted(key for key, model in self.models.items() if model.place == LEASE)
        job = data.draw(st.sampled_from(leased), "job")
        self.jobs.execute(
            "UPDATE job_leases SET expires_at = now() - interval '1 minute' WHERE job_id = %s",
            [job],
        )

        leases.rescue(self.session)

        assert leases.rescue(self.session) == []
        model = self.models[job]
        if model.state in FINAL:
            model.place = None
            return
        ran = model.state == "RUNNING"
        model.lost += ran
        model.attempts -= ran
        if model.is_cancel_requested:
            model.become("CANCELLED", "JobCancelled")
        elif model.lost >= leases.MOST_LOST_LEASES:
            model.become("FAILED", "JobFailed")
        else:
            waits = ran and model.lost > 1
            place = LATER if waits else QUEUE
            model.become("PENDING", "JobRescued", place, keeps_place=not ran)
            # It waits at random, which may be for no time at all.
            self.jobs.execute(
                "UPDATE job_queue_deferred SET run_after = now() + interval '1 minute' "
                "WHERE job_id = %s",
                [job],
            )
        if is_taken:
            self.take(number=10, starting=10)

    # --- people --------------------------------------------------------------------------------

    @precondition(lambda self: self.models)
    @rule(data=st.data(), action=st.sampled_from(["cancel", "hold", "release", "retry", "delete"]))
    def decide(self, data: Any, action: str) -> None:
        job = data.draw(st.sampled_from(sorted({*self.models, *self.deleted})), "job")
        model = self.models.get(job)
        try:
            getattr(lifecycle, action)(job, **WHO)
        except JobNotFound:
            assert model is None
        except JobStateConflict:
            assert model is not None
            assert not self.allows(model, action)
        else:
            assert model is not None
            assert self.allows(model, action)
            self.decided(job, model, action)

    def allows(self, model: Model, action: str) -> bool:
        match action:
            case "cancel":
                return model.state not in FINAL
            case "hold":
                return model.state in {"PENDING", "ASSIGNED"}
            case "release":
                return model.state == HELD_BACK
            case "retry":
                return model.state in {"FAILED", "TIMEOUT"}
        return model.state not in HELD

    def decided(self, job: uuid.UUID, model: Model, action: str) -> None:
        match action:
            case "cancel" if model.state == "RUNNING":
                model.is_cancel_requested = True
                model.told.append("JobCancelRequested")
            case "cancel":
                model.become("CANCELLED", "JobCancelled")
            case "hold":
                model.become(HELD_BACK, "JobHeld")
            case "release":
                model.become("PENDING", "JobReleased", QUEUE)
            case "retry":
                model.begin_anew("JobRetried")
            case "delete":
                model.told.append("JobDeleted")
                del self.models[job]
                self.deleted.add(job)
                self.keys = {key: one for key, one in self.keys.items() if one != job}
                self.jobs.execute("DELETE FROM job_leases WHERE job_id = %s", [job])

    @precondition(lambda self: self.models)
    @rule(data=st.data(), priority=st.integers(-1, 1))
    def reorder(self, data: Any, priority: int) -> None:
        job = data.draw(st.sampled_from(sorted({*self.models, *self.deleted})), "job")
        model = self.models.get(job)
        may = model is not None and model.state in {"PENDING", HELD_BACK}
        try:
            lifecycle.set_priority(job, priority, **WHO)
        except (JobNotFound, JobStateConflict):
            assert not may
        else:
            assert may
            assert model is not None
            model.priority = priority
            model.told.append("JobPriorityChanged")

    @rule(limit=st.integers(1, 2))
    def requeue(self, limit: int) -> None:
        wanted = [model for model in self.models.values() if model.state in {"FAILED", "TIMEOUT"}]
        before = {key for key, model in self.models.items() if model.state == "PENDING"}

        found = requeue(RequeueFilter(), limit=limit, **WHO)

        assert found.jobs == min(limit, len(wanted))
        pending = {row[0] for row in self.jobs.rows("SELECT id FROM jobs WHERE state = 'PENDING'")}
        for job in sorted(pending - before):
            self.models[job].begin_anew("JobRetried")

    # --- what must hold ------------------------------------------------------------------------

    @invariant()
    def each_job_is_where_it_should_be(self) -> None:
        if not self.models:
            return
        found = self.jobs.rows(
            "SELECT j.id, j.state, j.attempts, j.lost_leases, q.job_id IS NOT NULL, "
            "d.job_id IS NOT NULL, l.job_id IS NOT NULL, j.completed_at IS NOT NULL FROM jobs AS j "
            "LEFT JOIN job_queue AS q ON q.job_id = j.id "
            "LEFT JOIN job_queue_deferred AS d ON d.job_id = j.id "
            "LEFT JOIN job_leases AS l ON l.job_id = j.id"
        )
        assert {row[0]: row[1:] for row in found} == {
            job: (
                *(model.state, model.attempts, model.lost),
                *(model.place == table for table in (QUEUE, LATER, LEASE)),
                model.state in FINAL,
            )
            for job, model in self.models.items()
        }

    @invariant()
    def the_line_is_in_order(self) -> None:
        """What was given back unstarted stands where it stood."""
        line = [
            (-model.priority, model.stands, job)
            for job, model in self.models.items()
            if model.place == QUEUE
        ]
        found = self.jobs.rows("SELECT job_id FROM job_queue ORDER BY priority DESC, id")
        assert [row[0] for row in found] == [job for *_, job in sorted(line)]

    def told_as_it_was(self) -> None:
        """Each change is on record once, in its order."""
        told: dict[str, list[str]] = {}
        for job, event in self.jobs.rows(
            "SELECT payload ->> 'job_id', event_type FROM audit_logs ORDER BY occurred_at, id"
        ):
            told.setdefault(job, []).append(event)
        for job, model in self.models.items():
            assert told.pop(str(job)) == model.told
        assert set(told) == {str(job) for job in self.deleted}
        events = self.jobs.rows(
            "SELECT aggregate_id, array_agg(event_type ORDER BY seq) FROM outbox_events GROUP BY 1"
        )
        for job, names in events:
            if job in self.models:
                expected = [one for one in self.models[job].told if one not in NO_EVENTS]
                assert names == expected

    def choose(self, data: Any) -> Claimed:
        found: Claimed = self.held[data.draw(st.sampled_from(sorted(self.held)), "held")]
        return found


def run(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        LifeCycle,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
            # What it finds is short enough, and to make it shorter takes minutes.
            phases=[Phase.explicit, Phase.generate],
        ),
    )


@pytest.mark.django_db
class TestWhateverHappens:
    @pytest.fixture(autouse=True)
    def _everything_is_told(
        self, jobs: Jobs, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.JOBS_AUDIT = settings.JOBS_EVENTS = "all"
        # Those of one millisecond are in no order, and a run must go the same way each time.
        numbers = count(1)
        monkeypatch.setattr(queue, "uuid7", lambda: uuid.UUID(int=next(numbers)))

    def test_a_sample(self) -> None:
        run(examples=20, steps=30)

    @pytest.mark.slow
    def test_at_length(self) -> None:
        run(examples=150, steps=60)


def test_the_model_knows_every_state() -> None:
    """But for those that are the original's alone, or a saga's."""
    known = {"PENDING", *HELD, HELD_BACK, *FINAL}

    assert {*known, "CREATED", "SCHEDULED"} == {state.value for state in JobState}
