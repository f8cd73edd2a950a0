"""The same by SIGKILL of a real process, whose calls run in threads: at a seeded sample of points,
and at every point where there is time."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from jobs.services import orchestration, workers
from sagas.builtin.infrastructure import resource_of, worker_of
from sagas.definition import Saga
from sagas.registry import definition
from sagas.services.start import start
from tests.sagas.builtin.conftest import TABLES, WHO, Platform
from tests.sagas.builtin.fleet import asked, made
from tests.sagas.world import refuse, run_and_die
from tests.tables import empty

pytestmark = pytest.mark.process

MOST_POINTS = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A saga to start, and what must hold when it has ended."""

    kind: str
    given: dict[str, Any]
    judge: Callable[[uuid.UUID], None]
    #: The step whose action fails, so that the saga turns back.
    failing: str | None = None

    @property
    def definition(self) -> type[Saga]:
        """In a process of its own nobody has replaced a step, so the one that fails is another
        definition, of the same shape."""
        known = definition(self.kind)
        if self.failing is None:
            return known
        steps = [
            replace(step, action=refuse) if step.name == self.failing else step
            for step in known.steps
        ]
        return type(known.__name__, (known,), {"steps": steps})


def provisioning(platform: Platform) -> Case:
    provider = platform.provider()

    def judge(saga: uuid.UUID) -> None:
        worker = worker_of(saga)
        assert platform.outcome(saga) == "COMPLETED", platform.error(saga)
        assert platform.rows("SELECT id, state FROM workers") == [(worker, "READY")]
        assert made(platform.folder) == [resource_of(worker)]
        assert {key for _, key in asked(platform.folder)} == {resource_of(worker)}

    return Case(kind="PROVISIONING", given={"provider_id": provider}, judge=judge)


def provisioning_in_vain(platform: Platform) -> Case:
    provider = platform.provider(config={"dies": True})

    def judge(saga: uuid.UUID) -> None:
        assert platform.outcome(saga) == "COMPENSATED", platform.error(saga)
        assert platform.worker_state(worker_of(saga)) == "TERMINATED"
        assert made(platform.folder) == []

    return Case(kind="PROVISIONING", given={"provider_id": provider}, judge=judge)


def recovery(platform: Platform) -> Case:
    old = worker_of(platform.run_saga("PROVISIONING", provider_id=platform.provider()))
    job = platform.running_job(old)
    platform.silence(old)

    def judge(saga: uuid.UUID) -> None:
        new = worker_of(saga)
        assert platform.outcome(saga) == "COMPLETED", platform.error(saga)
        assert orchestration.look(job).held_by == new
        assert platform.rows("SELECT lost_leases FROM jobs") == [(1,)]
        assert made(platform.folder) == [resource_of(new)]
        told = "SELECT count(*) FROM audit_logs WHERE event_type = 'JobTransferred'"
        assert platform.value(told) == 1

    return Case(kind="RECOVERY", given={"job_id": job, "worker_id": old}, judge=judge)


def execution(platform: Platform) -> Case:
    platform.ready_worker()
    job = platform.enqueue(orchestrated=True)
    # It ends by itself as soon as it was given to a worker.
    platform.execute("DROP FUNCTION IF EXISTS test_run_at_once() CASCADE")
    platform.execute(
        "CREATE FUNCTION test_run_at_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "UPDATE jobs SET state = 'SUCCEEDED', attempts = attempts + 1, completed_at = now() "
        "WHERE id = NEW.job_id; DELETE FROM job_leases WHERE job_id = NEW.job_id; RETURN NULL; "
        "END $$"
    )
    platform.execute(
        "CREATE CONSTRAINT TRIGGER test_run_at_once AFTER INSERT ON job_leases DEFERRABLE "
        "INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION test_run_at_once()"
    )

    def judge(saga: uuid.UUID) -> None:
        assert platform.outcome(saga) == "COMPLETED", platform.error(saga)
        assert platform.rows("SELECT state, attempts FROM jobs WHERE id = %s", [job]) == [
            ("SUCCEEDED", 1)
        ]

    return Case(kind="EXECUTION", given={"job_id": job}, judge=judge)


def cancellation(platform: Platform) -> Case:
    job = platform.enqueue()

    def judge(saga: uuid.UUID) -> None:
        assert platform.outcome(saga) == "COMPLETED", platform.error(saga)
        assert platform.state(job) == "CANCELLED"

    return Case(kind="CANCELLATION", given={"job_id": job}, judge=judge)


def timeout(platform: Platform) -> Case:
    old = platform.ready_worker()
    job = platform.running_job(old, timeout=timedelta(seconds=5))
    platform.execute("UPDATE jobs SET started_at = now() - interval '1 minute'")
    platform.silence(old)

    def judge(saga: uuid.UUID) -> None:
        assert platform.outcome(saga) == "COMPLETED", platform.error(saga)
        assert platform.state(job) == "TIMEOUT"
        assert platform.worker_state(old) == "TERMINATED"

    return Case(kind="TIMEOUT", given={"job_id": job}, judge=judge)


def cleanup(platform: Platform) -> Case:
    worker = worker_of(platform.run_saga("PROVISIONING", provider_id=platform.provider()))
    workers.terminate(worker, reason="r", actor=WHO)

    def judge(saga: uuid.UUID) -> None:
        assert platform.outcome(saga) == "COMPLETED", platform.error(saga)
        assert made(platform.folder) == []

    return Case(kind="CLEANUP", given={"worker_id": worker}, judge=judge)


def provisioning_turned_back(platform: Platform) -> Case:
    def judge(saga: uuid.UUID) -> None:
        assert platform.outcome(saga) == "COMPENSATED", platform.error(saga)
        assert platform.worker_state(worker_of(saga)) == "TERMINATED"
        assert made(platform.folder) == []

    return replace(provisioning(platform), judge=judge, failing="publish")


def recovery_turned_back(platform: Platform) -> Case:
    case = recovery(platform)
    old, job = case.given["worker_id"], case.given["job_id"]

    def judge(saga: uuid.UUID) -> None:
        assert platform.outcome(saga) == "COMPENSATED", platform.error(saga)
        assert orchestration.look(job).held_by == old
        assert platform.worker_state(worker_of(saga)) == "TERMINATED"
        assert made(platform.folder) == [resource_of(old)]

    return replace(case, judge=judge, failing="transfer_job")


def execution_turned_back(platform: Platform) -> Case:
    platform.ready_worker()
    job = platform.enqueue(orchestrated=True)

    def judge(saga: uuid.UUID) -> None:
        assert platform.outcome(saga) == "COMPENSATED", platform.error(saga)
        assert platform.state(job) == "MANUAL_INTERVENTION_REQUIRED"
        assert platform.place(job) == []

    return Case(kind="EXECUTION", given={"job_id": job}, judge=judge, failing="execute")


def cancellation_turned_back(platform: Platform) -> Case:
    job = platform.enqueue()

    def judge(saga: uuid.UUID) -> None:
        assert platform.outcome(saga) == "COMPENSATED", platform.error(saga)
        assert platform.state(job) == "PENDING"

    return Case(kind="CANCELLATION", given={"job_id": job}, judge=judge, failing="request_stop")


def timeout_turned_back(platform: Platform) -> Case:
    case = timeout(platform)
    job = case.given["job_id"]
    worker = orchestration.look(job).held_by

    def judge(saga: uuid.UUID) -> None:
        assert platform.outcome(saga) == "COMPENSATED", platform.error(saga)
        assert platform.state(job) == "RUNNING"
        assert orchestration.look(job).held_by == worker

    return replace(case, judge=judge, failing="end_run")


def cleanup_turned_back(platform: Platform) -> Case:
    case = cleanup(platform)

    def judge(saga: uuid.UUID) -> None:
        assert platform.outcome(saga) == "COMPENSATED", platform.error(saga)
        assert made(platform.folder) == [resource_of(case.given["worker_id"])]

    return replace(case, judge=judge, failing="find_leftovers")


FORWARD = [provisioning, recovery, execution, cancellation, timeout, cleanup]
BACKWARD = [
    provisioning_in_vain,
    provisioning_turned_back,
    recovery_turned_back,
    execution_turned_back,
    cancellation_turned_back,
    timeout_turned_back,
    cleanup_turned_back,
]
CASES = [*FORWARD, *BACKWARD]
#: Of each case a point, by a seed: one of the first, which every saga has.
SAMPLE = [(case, Random(number).randrange(2, 9)) for number, case in enumerate(CASES)]
#: Points that the shortest one has: one local step that fails, and nothing to undo.
FEWEST = 6


@pytest.fixture(autouse=True)
def no_trigger(platform: Platform) -> Any:
    yield
    platform.execute("DROP FUNCTION IF EXISTS test_run_at_once() CASCADE")


def killed(platform: Platform, make: Callable[[Platform], Case], number: int) -> bool:
    """Whether the runner died; the saga has ended well in any case."""
    empty(TABLES)
    for path in platform.folder.iterdir():
        path.unlink()
    case = make(platform)
    given = {name: str(value) for name, value in case.given.items()}
    (platform.folder / "journal").unlink(missing_ok=True)
    saga = start(case.kind, given)
    definitions = [case.definition]
    code = run_and_die(number, definitions=definitions)
    assert code in {0, -signal.SIGKILL}
    platform.execute(
        "UPDATE sagas SET lease_until = clock_timestamp() WHERE lease_until IS NOT NULL"
    )
    for _ in range(100):
        if platform.outcome(saga) is not None:
            break
        platform.hurry()
        platform.drive(definitions)
    case.judge(saga)
    return code != 0


@pytest.mark.parametrize(("make", "number"), SAMPLE)
def test_at_some_points(platform: Platform, make: Callable[[Platform], Case], number: int) -> None:
    killed(platform, make, number)


@pytest.mark.slow
@pytest.mark.parametrize("make", CASES)
def test_at_every_point(platform: Platform, make: Callable[[Platform], Case]) -> None:
    number = 0
    while killed(platform, make, number):
        number += 1
        assert number < MOST_POINTS
    assert number >= FEWEST
