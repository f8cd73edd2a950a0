"""PROVISIONING: what it makes, and what it leaves when it turns back."""

from __future__ import annotations

import threading
import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from jobs.services import providers
from sagas.builtin import infrastructure
from sagas.builtin.infrastructure import WORKER, resource_of, worker_of
from sagas.builtin.provisioning import Provisioning
from sagas.definition import Retry
from sagas.providers import Handle, WorkerOrder
from sagas.services import locks
from sagas.services.start import start
from tests.processes import eventually
from tests.sagas.builtin.conftest import WHO, Platform
from tests.sagas.builtin.fleet import FleetProvider, asked, made


def test_a_provider_makes_a_worker_which_registers(platform: Platform) -> None:
    provider = platform.provider(config={"concurrency": 3, "queues": ["mail"]})

    saga = platform.run_saga("PROVISIONING", provider_id=provider)

    worker = worker_of(saga)
    assert platform.outcome(saga) == "COMPLETED", platform.error(saga)
    assert made(platform.folder) == [resource_of(worker)]
    assert platform.rows(
        "SELECT id, state, provider_id, spec->>'concurrency', spec->'queues'->>0 FROM workers"
    ) == [(worker, "READY", provider, "3", "mail")]
    assert platform.rows(
        "SELECT event_type, actor FROM audit_logs WHERE event_type LIKE 'Worker%' "
        "ORDER BY occurred_at"
    ) == [
        ("WorkerCreated", f"saga PROVISIONING {saga}"),
        ("WorkerRegistered", f"worker {worker}"),
        ("WorkerProvisioned", f"saga PROVISIONING {saga}"),
    ]
    assert platform.value("SELECT count(*) FROM outbox_events") == 0


def test_nobody_else_works_on_the_worker_while_it_is_being_made(platform: Platform) -> None:
    saga = platform.run_saga(
        "PROVISIONING", provider_id=platform.provider(config={"registers": False})
    )
    worker = worker_of(saga)

    assert platform.outcome(saga) is None
    assert locks.holder(WORKER, worker) == saga
    platform.execute("UPDATE sagas SET cancel_requested_at = now()")
    platform.hurry()
    platform.drive()

    assert platform.outcome(saga) == "CANCELLED"
    assert locks.holder(WORKER, worker) is None


def test_no_token_is_stored_or_told(platform: Platform) -> None:
    saga = platform.run_saga("PROVISIONING", provider_id=platform.provider())

    assert platform.outcome(saga) == "COMPLETED"
    everything = platform.rows(
        "SELECT s::text FROM saga_steps AS s UNION ALL SELECT e::text FROM saga_audit_events AS e "
        "UNION ALL SELECT a::text FROM audit_logs AS a UNION ALL SELECT w::text FROM workers AS w"
    )
    ((public_id,),) = platform.rows("SELECT token FROM worker_bootstrap_tokens")
    assert not any(f"{public_id}." in text for (text,) in everything)


def test_an_event_tells_of_it_where_the_outbox_has_somewhere_to_send_it(
    platform: Platform, settings: Any
) -> None:
    settings.HODEI_OUTBOX = {
        "DESTINATIONS": {"default": {"PUBLISHER": "outbox.publishers.console.ConsolePublisher"}}
    }

    saga = platform.run_saga("PROVISIONING", provider_id=platform.provider())

    assert platform.rows(
        "SELECT event_type, aggregate_type, aggregate_id, payload->>'saga_id' FROM outbox_events "
        "WHERE event_type = 'WorkerProvisioned'"
    ) == [("WorkerProvisioned", "WORKER", worker_of(saga), str(saga))]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_workers": 1}, "has 1 live workers, and may have 1"),
        ({"provider_type": "docker"}, "no implementation of providers of type 'docker'"),
        ({"config": {"concurrency": 0}}, "config['concurrency'] of the provider is 0"),
        ({"config": {"queues": "mail"}}, "config['queues'] of the provider is 'mail'"),
    ],
)
def test_a_provider_that_cannot_is_asked_for_nothing(
    platform: Platform, options: dict[str, Any], words: str
) -> None:
    provider = platform.provider(**options)
    if "max_workers" in options:
        platform.run_saga("PROVISIONING", provider_id=provider)
    before = asked(platform.folder)

    saga = platform.run_saga("PROVISIONING", provider_id=provider)

    assert platform.outcome(saga) == "COMPENSATED"
    assert words in platform.error(saga)
    assert asked(platform.folder) == before
    assert platform.value("SELECT count(*) FROM workers") == len(made(platform.folder))


@pytest.mark.parametrize("given", ["", "me", "00000000-0000-0000-0000-000000000000"])
def test_no_such_provider_is_said(platform: Platform, given: str) -> None:
    saga = platform.run_saga("PROVISIONING", provider_id=given)

    assert platform.outcome(saga) == "COMPENSATED"
    assert (given or "''") in platform.error(saga)


def test_a_provider_that_refuses_leaves_nothing(platform: Platform) -> None:
    saga = platform.run_saga(
        "PROVISIONING", provider_id=platform.provider(config={"refuses": True})
    )

    assert platform.outcome(saga) == "COMPENSATED"
    assert "the yard is closed" in platform.error(saga)
    assert platform.worker_state(worker_of(saga)) == "TERMINATED"
    assert made(platform.folder) == []


def test_a_worker_that_dies_before_it_registers_leaves_nothing(platform: Platform) -> None:
    saga = platform.run_saga(
        "PROVISIONING", provider_id=platform.provider(config={"registers": False})
    )
    assert platform.outcome(saga) is None
    assert platform.steps(saga)["create_infrastructure"] == "COMPLETED"
    (platform.folder / f"{resource_of(worker_of(saga))}.worker").unlink()

    platform.hurry()
    platform.drive()

    assert platform.outcome(saga) == "COMPENSATED"
    assert "ended before it was ready" in platform.error(saga)
    assert platform.worker_state(worker_of(saga)) == "TERMINATED"


def test_one_that_never_registers_is_destroyed_when_its_time_is_over(platform: Platform) -> None:
    saga = platform.run_saga(
        "PROVISIONING", provider_id=platform.provider(config={"registers": False})
    )
    assert len(made(platform.folder)) == 1
    platform.execute("UPDATE sagas SET deadline_at = now() - interval '1 second', due_at = now()")

    platform.drive()

    assert platform.outcome(saga) == "COMPENSATED"
    assert made(platform.folder) == []
    assert platform.worker_state(worker_of(saga)) == "TERMINATED"


def test_a_provider_is_disabled_while_it_waits_for_its_turn(platform: Platform) -> None:
    provider = platform.provider()
    providers.disable(provider, reason="maintenance", actor=WHO)

    saga = platform.run_saga("PROVISIONING", provider_id=provider)

    assert platform.outcome(saga) == "COMPENSATED"
    assert "is DISABLED" in platform.error(saga)
    assert isinstance(saga, uuid.UUID)


def test_what_a_call_makes_after_nobody_waits_for_it_any_more_is_cleaned_up(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its provider says nothing, and the saga turns back; what was not there is destroyed. Then the
    provider has made it."""
    provider = platform.provider(config={"registers": False})
    asked_for, go_on = threading.Event(), threading.Event()
    create, verify = FleetProvider.create, FleetProvider.verify

    def late(self: FleetProvider, key: str, order: WorkerOrder) -> Handle:
        asked_for.set()
        assert go_on.wait(60)
        return create(self, key, order)

    def silent(self: FleetProvider, key: str) -> Handle | None:
        if asked_for.is_set():
            raise OSError("the yard does not answer")
        return verify(self, key)

    class Impatient(Provisioning):
        steps = tuple(
            replace(step, timeout=timedelta(seconds=0.3), verify_retry=Retry())
            if step.name == "create_infrastructure"
            else step
            for step in Provisioning.steps
        )

    monkeypatch.setattr(FleetProvider, "create", late)
    monkeypatch.setattr(FleetProvider, "verify", silent)
    saga = start("PROVISIONING", {"provider_id": str(provider)}, actor=WHO)
    platform.drive([Impatient])
    worker = worker_of(saga)
    try:
        assert platform.outcome(saga) == "COMPENSATED"
        assert platform.value("SELECT handle->>'destroyed' FROM workers") == "true"
    finally:
        go_on.set()
    assert eventually(lambda: bool(platform.value("SELECT handle ? 'infrastructure' FROM workers")))
    assert made(platform.folder) == [resource_of(worker)]
    platform.execute("UPDATE workers SET updated_at = now() - interval '5 minutes'")
    platform.schedule()
    platform.drive()

    assert made(platform.folder) == []
    assert platform.value("SELECT handle->>'destroyed' FROM workers") == "true"


def test_what_is_made_while_it_is_destroyed_is_not_taken_for_gone(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = worker_of(platform.run_saga("PROVISIONING", provider_id=platform.provider()))
    infrastructure.destroy(worker, "default")
    destroy = FleetProvider.destroy

    def meanwhile(self: FleetProvider, key: str, handle: Handle) -> None:
        destroy(self, key, handle)
        infrastructure._made(worker, {"key": "made since"}, "default")

    monkeypatch.setattr(FleetProvider, "destroy", meanwhile)
    infrastructure.destroy(worker, "default")

    assert platform.value("SELECT handle ? 'destroyed' FROM workers") is False
