"""RECOVERY: the job of a lost worker goes to a new one, unless the old one comes back."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from jobs.services import orchestration, workers
from sagas.builtin import infrastructure, recovery
from sagas.builtin.infrastructure import resource_of, worker_of
from sagas.services import locks
from sagas.services.start import start
from tests.sagas.builtin.conftest import WHO, Platform
from tests.sagas.builtin.fleet import asked, made


@pytest.fixture
def old(platform: Platform) -> uuid.UUID:
    """A worker that a provider has made, which has room for two."""
    saga = platform.run_saga("PROVISIONING", provider_id=platform.provider(max_workers=2))
    return worker_of(saga)


def vanish(platform: Platform, worker: uuid.UUID) -> None:
    (platform.folder / f"{resource_of(worker)}.worker").unlink()


def recover(platform: Platform, job: uuid.UUID, worker: uuid.UUID) -> uuid.UUID:
    return platform.run_saga("RECOVERY", job_id=job, worker_id=worker)


@pytest.mark.parametrize("sign", ["its provider says so", "its silence", "it was ended"])
def test_the_job_goes_to_a_new_worker(platform: Platform, old: uuid.UUID, sign: str) -> None:
    job = platform.running_job(old)
    if sign == "its provider says so":
        vanish(platform, old)
    elif sign == "its silence":
        platform.silence(old)
    else:
        workers.terminate(old, reason="r", actor=WHO)

    saga = recover(platform, job, old)

    new = worker_of(saga)
    assert platform.outcome(saga) == "COMPLETED", platform.error(saga)
    assert platform.worker_state(old) == "TERMINATED"
    assert platform.worker_state(new) == "READY"
    assert orchestration.look(job).held_by == new
    assert platform.rows("SELECT state, lost_leases FROM jobs") == [("ASSIGNED", 1)]
    # What was silent may run still: it is ended for sure.
    assert made(platform.folder) == [resource_of(new)]
    ((payload,),) = platform.rows(
        "SELECT payload->>'from' || ' ' || (payload->>'to') FROM audit_logs "
        "WHERE event_type = 'JobTransferred'"
    )
    assert payload == f"{old} {new}"


def test_it_waits_while_the_lost_worker_is_still_being_made(
    platform: Platform, old: uuid.UUID
) -> None:
    job = platform.running_job(old)
    platform.silence(old)
    making = start("CANCELLATION", {"job_id": str(job)})
    platform.execute("UPDATE sagas SET due_at = NULL WHERE id = %s", [making])
    locks.acquire(making, infrastructure.WORKER, old)

    saga = recover(platform, job, old)
    assert platform.outcome(saga) is None
    assert platform.steps(saga)["reserve_worker"] == "PENDING"
    locks.release(making, infrastructure.WORKER, old)
    platform.execute("UPDATE sagas SET due_at = now() WHERE id = %s", [saga])
    platform.execute("UPDATE saga_steps SET due_at = NULL")
    platform.drive()

    assert platform.outcome(saga) == "COMPLETED", platform.error(saga)
    assert locks.holder(infrastructure.WORKER, old) is None
    assert locks.holder(infrastructure.WORKER, worker_of(saga)) is None


def test_the_place_of_the_lost_one_is_free(platform: Platform) -> None:
    provider = platform.provider(max_workers=1)
    old = worker_of(platform.run_saga("PROVISIONING", provider_id=provider))
    job = platform.running_job(old)
    vanish(platform, old)

    saga = recover(platform, job, old)

    assert platform.outcome(saga) == "COMPLETED", platform.error(saga)
    assert orchestration.look(job).held_by == worker_of(saga)


def test_one_that_gives_signs_of_life_is_left_alone(platform: Platform, old: uuid.UUID) -> None:
    job = platform.running_job(old)

    saga = recover(platform, job, old)

    assert platform.outcome(saga) == "COMPENSATED"
    assert "gives signs of life" in platform.error(saga)
    assert orchestration.look(job).held_by == old
    assert made(platform.folder) == [resource_of(old)]


def test_one_that_comes_back_keeps_its_job_and_the_new_one_goes(
    platform: Platform, old: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = platform.running_job(old)
    platform.silence(old)
    wait = infrastructure.awaited

    def comes_back(*given: Any) -> Any:
        found = wait(*given)
        workers.heartbeat(old)
        return found

    monkeypatch.setattr(infrastructure, "awaited", comes_back)

    saga = recover(platform, job, old)

    new = worker_of(saga)
    assert platform.outcome(saga) == "COMPLETED", platform.error(saga)
    assert platform.output(saga, "transfer_job")["came_back"] is True
    assert platform.output(saga, "cancel_replacement")["cancelled"] is True
    assert orchestration.look(job).held_by == old
    assert platform.worker_state(old) == "READY"
    assert platform.worker_state(new) == "TERMINATED"
    assert made(platform.folder) == [resource_of(old)]


def test_a_job_that_ended_meanwhile_is_not_run_again(
    platform: Platform, old: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = platform.running_job(old)
    platform.silence(old)
    wait = infrastructure.awaited

    def ends(*given: Any) -> Any:
        found = wait(*given)
        platform.finish(job)
        return found

    monkeypatch.setattr(infrastructure, "awaited", ends)

    saga = recover(platform, job, old)

    assert platform.outcome(saga) == "COMPLETED"
    assert platform.output(saga, "transfer_job")["transferred"] is False
    assert platform.state(job) == "SUCCEEDED"


def test_with_no_provider_the_job_stays_where_it_is(platform: Platform) -> None:
    old = platform.ready_worker()
    job = platform.running_job(old)
    platform.silence(old)

    saga = recover(platform, job, old)

    assert platform.outcome(saga) == "COMPENSATED"
    assert "No provider can make a worker" in platform.error(saga)
    assert orchestration.look(job).held_by == old


def test_a_worker_that_a_person_started_is_replaced_by_a_provider_that_can(
    platform: Platform,
) -> None:
    old = platform.ready_worker()
    job = platform.running_job(old)
    platform.silence(old)
    platform.provider()

    saga = recover(platform, job, old)

    assert platform.outcome(saga) == "COMPLETED", platform.error(saga)
    assert orchestration.look(job).held_by == worker_of(saga)


def test_turned_back_the_new_worker_is_gone(
    platform: Platform, old: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = platform.running_job(old)
    platform.silence(old)
    wait = infrastructure.awaited

    def is_cancelled(*given: Any) -> Any:
        found = wait(*given)
        platform.execute(
            "UPDATE sagas SET cancel_requested_at = now() WHERE saga_type = 'RECOVERY'"
        )
        return found

    monkeypatch.setattr(infrastructure, "awaited", is_cancelled)

    saga = recover(platform, job, old)
    platform.hurry()
    platform.drive()

    if platform.outcome(saga) == "COMPLETED":
        # It had been handed over before anybody saw the request: then it only goes forward.
        assert platform.steps(saga)["transfer_job"] == "COMPLETED"
        return
    assert platform.outcome(saga) == "CANCELLED"
    assert made(platform.folder) == [resource_of(old)]
    assert platform.worker_state(worker_of(saga)) == "TERMINATED"
    assert platform.state(job) == "RUNNING"


def test_s10_its_worker_is_the_same_however_often_it_is_asked(
    platform: Platform, old: uuid.UUID
) -> None:
    job = platform.running_job(old)
    vanish(platform, old)

    saga = recover(platform, job, old)

    keys = {key for what, key in asked(platform.folder) if what == "create"}
    assert keys == {resource_of(old), resource_of(worker_of(saga))}
    assert recovery.Recovery.steps[4].pivot
