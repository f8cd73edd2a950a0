"""Four sagas: one that went well, one undone, one under way, and one that waits for a person."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Model

from hodei.sample.draft import Draft
from hodei.sample.jobs import SampleJobs
from sagas.models import Saga, SagaAuditEvent, SagaLock, SagaStep, SagaStepAttempt
from sagas.states import Direction, SagaKind, SagaOutcome, SagaState, StepState

RUNNER = "runner-2@ops-1"

PROVISIONING = ("validate_capacity", "create_infrastructure", "register_worker", "publish_ready")
EXECUTION = ("validate_job", "assign_worker", "execute_job", "complete_job")
RECOVERY = ("check_connectivity", "provision_replacement", "transfer_job", "terminate_old")


def sample_sagas(draft: Draft, sample: SampleJobs) -> list[Model]:
    """The rows of the sagas app."""
    rows: list[Model] = []
    for story in (
        _completed(draft, sample),
        _compensated(draft, sample),
        _failed(draft, sample),
        _running(draft, sample),
    ):
        rows += [story.saga, *story.steps, *story.attempts, *story.audit, *story.locks]
    return rows


@dataclass
class Story:
    """A saga that is told step by step: each telling moves the time on and writes its rows."""

    draft: Draft
    saga: Saga
    names: tuple[str, ...]
    at: datetime
    steps: list[SagaStep] = field(default_factory=list)
    attempts: list[SagaStepAttempt] = field(default_factory=list)
    audit: list[SagaAuditEvent] = field(default_factory=list)
    locks: list[SagaLock] = field(default_factory=list)

    def say(self, what: str, words: str, step: str | None = None, **payload: Any) -> None:
        """Write an audit event."""
        self.at += timedelta(milliseconds=4)
        self.audit.append(
            SagaAuditEvent(
                id=self.draft.id(),
                saga=self.saga,
                event_type=what,
                step_name=step,
                message=words,
                payload={"actor": RUNNER, **payload},
                occurred_at=self.at,
            )
        )

    def step(self, name: str, given: Any = None) -> SagaStep:
        """The step of this name, written when it is first spoken of."""
        for known in self.steps:
            if known.step_name == name:
                return known
        step = SagaStep(
            id=self.draft.id(),
            saga=self.saga,
            step_name=name,
            step_order=len(self.steps),
            state=StepState.PENDING.value,
            input_data=given,
            retry_count=0,
            created_at=self.saga.created_at,
            updated_at=self.saga.created_at,
        )
        self.steps.append(step)
        return step

    def attempt(
        self, step: SagaStep, direction: Direction, seconds: float | None, error: str | None = None
    ) -> None:
        """Try a step; None seconds is a try that has not come back."""
        number = 1 + sum(
            one.step is step and one.direction == direction.value for one in self.attempts
        )
        begun = self.at
        if seconds is not None:
            self.at += timedelta(seconds=seconds)
        self.attempts.append(
            SagaStepAttempt(
                step=step,
                direction=direction.value,
                number=number,
                lease_epoch=self.saga.lease_epoch,
                runner=RUNNER,
                started_at=begun,
                finished_at=None if seconds is None else self.at,
                error_class=error.partition(":")[0] if error else None,
                error_message=error,
            )
        )
        step.updated_at = self.at

    def do(self, name: str, seconds: float, given: Any = None, result: Any = None) -> None:
        """A step that is done at its first try."""
        step = self.begin(name, given)
        self.attempt(step, Direction.FORWARD, seconds)
        step.state, step.completed_at = StepState.COMPLETED.value, self.at
        step.output_data = result
        self.say("STEP_COMPLETED", f"{name} is done", name)

    def fail(self, name: str, seconds: float, tries: int, error: str, given: Any = None) -> None:
        """A step that fails for sure, each of its tries."""
        step = self.begin(name, given)
        for number in range(1, tries + 1):
            self.attempt(step, Direction.FORWARD, seconds, error)
            if number < tries:
                self.say("STEP_RETRIED", f"{name} failed, try {number} of {tries}", name)
                self.at += timedelta(seconds=2**number)
        step.state, step.error_message = StepState.FAILED.value, error
        step.retry_count = tries - 1
        self.saga.error_message = f"{name} failed: {error}"
        self.say("STEP_FAILED", error, name, tries=tries)
        self.say("COMPENSATION_STARTED", "Undoing what is done, the newest first")

    def undo(self, name: str, seconds: float, result: Any = None) -> None:
        """A compensation that works at its first try."""
        step = self.step(name)
        self.attempt(step, Direction.COMPENSATION, seconds)
        step.state, step.compensation_data = StepState.COMPENSATED.value, result
        step.updated_at = self.at
        self.say("STEP_COMPENSATED", f"{name} is undone", name)

    def park(self, name: str, seconds: float, tries: int, error: str) -> None:
        """A compensation that fails for good."""
        step = self.step(name)
        for number in range(1, tries + 1):
            self.attempt(step, Direction.COMPENSATION, seconds, error)
            self.at += timedelta(seconds=2**number)
        step.state, step.error_message = StepState.PARKED.value, error
        step.updated_at = self.at
        self.say("STEP_PARKED", f"Cannot be undone: {error}", name, tries=tries)

    def end(self, state: SagaState, outcome: SagaOutcome, words: str) -> Story:
        """The end of the saga; steps that were never begun stay PENDING."""
        for name in self.names:
            self.step(name)
        self.say(f"SAGA_{outcome.value}", words)
        self.saga.state, self.saga.outcome = state.value, outcome.value
        self.saga.completed_at = self.saga.updated_at = self.at
        return self

    def begin(self, name: str, given: Any) -> SagaStep:
        """A step whose action begins."""
        step = self.step(name, given)
        step.state, step.started_at = StepState.IN_PROGRESS.value, self.at
        self.say("STEP_STARTED", f"{name} begins", name)
        return step


def _start(
    draft: Draft, kind: SagaKind, names: tuple[str, ...], minutes: float, **values: Any
) -> Story:
    at = draft.ago(minutes=minutes)
    saga = Saga(
        **{
            "id": draft.id(),
            "saga_type": kind.value,
            "state": SagaState.IN_PROGRESS.value,
            "actor": "scheduler",
            "started_at": at,
            "created_at": at,
            "updated_at": at,
            "definition_version": 1,
            "steps_hash": hashlib.sha256("\n".join(names).encode()).hexdigest(),
            "deadline_at": at + timedelta(minutes=15),
            "lease_epoch": 1,
            "trace_parent": draft.trace(),
            **values,
        }
    )
    story = Story(draft, saga, names, at)
    story.say("SAGA_STARTED", f"{kind.value.lower()} begins", version=1)
    return story


def _completed(draft: Draft, sample: SampleJobs) -> Story:
    worker = sample.workers["eu-west-7f9c"]
    story = _start(
        draft, SagaKind.PROVISIONING, PROVISIONING, 53, business_key=str(worker.id),
        correlation_id="scale-up-77", metadata={"provider": "k8s-eu-west", "count": 1},
    )  # fmt: skip
    given = {"provider": "k8s-eu-west"}
    story.do("validate_capacity", 0.02, given, {"live": 3, "max": 40})
    name = worker.provider_resource_id
    story.do("create_infrastructure", 21.4, given, {"pod": name, "join_token": "example-only"})
    story.do("register_worker", 6.8, {"pod": name}, {"worker_id": str(worker.id)})
    story.do("publish_ready", 0.03, None, {"event": "WorkerRegistered"})
    return story.end(SagaState.COMPLETED, SagaOutcome.COMPLETED, f"{name} is ready")


def _compensated(draft: Draft, sample: SampleJobs) -> Story:
    story = _start(
        draft, SagaKind.PROVISIONING, PROVISIONING, 28, business_key="gpu-rack/slurm-31012",
        correlation_id="scale-up-78", metadata={"provider": "gpu-rack", "count": 1},
    )  # fmt: skip
    given = {"provider": "gpu-rack"}
    story.do("validate_capacity", 0.03, given, {"live": 1, "max": 4})
    story.do("create_infrastructure", 34.2, given, {"slurm_job": 31012, "node": "gpu-03"})
    story.fail(
        "register_worker", 20, 3, "StepTimeout: no sign of life from gpu-03 within 20 s",
        {"slurm_job": 31012},
    )  # fmt: skip
    story.undo("create_infrastructure", 3.1, {"cancelled": 31012})
    story.undo("validate_capacity", 0.01, {"released": 1})
    return story.end(
        SagaState.COMPLETED, SagaOutcome.COMPENSATED, "Everything that was done is undone"
    )


def _failed(draft: Draft, sample: SampleJobs) -> Story:
    job = sample.jobs["train-ranking 16"]
    story = _start(
        draft, SagaKind.RECOVERY, RECOVERY, 124, business_key=str(job.id),
        correlation_id="train-ranking-16",
        metadata={"job_id": str(job.id), "provider": "k8s-eu-west"},
    )  # fmt: skip
    story.do("check_connectivity", 15.0, {"worker": "eu-west-55aa"}, {"alive": False})
    story.do("provision_replacement", 24.9, {"provider": "k8s-eu-west"}, {"pod": "eu-west-e0f1"})
    story.fail("transfer_job", 1.2, 2, "JobHeld: the job waits for a person", {"job": str(job.id)})
    story.park("provision_replacement", 10, 3, "Forbidden: may not delete pod eu-west-e0f1")
    story.undo("check_connectivity", 0.01)
    story.saga.error_message = "provision_replacement cannot be undone: may not delete its pod"
    return story.end(
        SagaState.FAILED,
        SagaOutcome.COMPENSATION_FAILED,
        "A pod is left behind: waits for a person",
    )


def _running(draft: Draft, sample: SampleJobs) -> Story:
    job, worker = sample.jobs["settlement 2291"], sample.workers["eu-west-7f9c"]
    story = _start(
        draft, SagaKind.EXECUTION, EXECUTION, 4.25, business_key=str(job.id), actor="billing",
        correlation_id="settlement-2291", metadata={"job_id": str(job.id)},
        lease_owner=RUNNER, lease_until=draft.soon(seconds=21),
    )  # fmt: skip
    given = {"job": str(job.id)}
    story.do("validate_job", 0.02, given, {"ok": True})
    story.do("assign_worker", 0.4, given, {"worker": str(worker.id)})
    running = story.begin("execute_job", given)
    story.attempt(running, Direction.FORWARD, None)
    for name in EXECUTION:
        story.step(name)
    story.locks.append(
        SagaLock(
            resource_type="job",
            resource_id=str(job.id),
            saga=story.saga,
            acquired_at=story.saga.started_at,
        )
    )
    story.saga.updated_at = story.at
    return story
