"""The scheduler: each saga when it is needed, once, and not again at once when it failed."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobs.services import orchestration, workers
from sagas.builtin.infrastructure import worker_of
from sagas.scheduler import unserved
from sagas.services.start import start
from tests.processes import eventually
from tests.sagas.builtin.conftest import WHO, Platform


def live(platform: Platform) -> list[tuple[str, str]]:
    """What was started and has not ended: kinds and keys."""
    return platform.rows(
        "SELECT saga_type, business_key FROM sagas WHERE outcome IS NULL "
        "ORDER BY saga_type, business_key"
    )


def made_worker(platform: Platform, **options: Any) -> uuid.UUID:
    return worker_of(platform.run_saga("PROVISIONING", provider_id=platform.provider(**options)))


class TestExecution:
    def test_for_each_orchestrated_job_that_is_due(self, platform: Platform) -> None:
        platform.ready_worker()
        wanted = [platform.enqueue(orchestrated=True) for _ in range(3)]
        platform.enqueue()
        platform.enqueue(orchestrated=True, run_after=datetime.now(UTC) + timedelta(hours=1))

        platform.schedule()
        platform.schedule()

        assert live(platform) == sorted(("EXECUTION", str(job)) for job in wanted)

    def test_again_for_a_job_that_was_retried(self, platform: Platform) -> None:
        platform.ready_worker()
        job = platform.enqueue(orchestrated=True)
        start("EXECUTION", {"job_id": str(job)}, key=str(job))
        platform.execute(
            "UPDATE sagas SET state = 'COMPLETED', outcome = 'COMPLETED', completed_at = now()"
        )

        platform.schedule()

        assert live(platform) == [("EXECUTION", str(job))]


class TestProvisioning:
    def test_where_jobs_wait_and_nobody_works(self, platform: Platform) -> None:
        platform.provider()
        platform.enqueue(queue="mail")

        platform.schedule()
        platform.schedule()
        assert live(platform) == [("PROVISIONING", "queue mail")]

        platform.drive()
        platform.schedule()
        assert live(platform) == []
        assert platform.rows("SELECT state FROM workers") == [("READY",)]

    @pytest.mark.parametrize("orchestrated", [True, False])
    def test_nobody_is_made_where_somebody_works(
        self, platform: Platform, orchestrated: bool
    ) -> None:
        platform.provider()
        platform.ready_worker()
        platform.enqueue(orchestrated=orchestrated)

        platform.schedule()

        assert "PROVISIONING" not in dict(live(platform))

    def test_a_worker_of_other_queues_is_nobody(self, platform: Platform) -> None:
        platform.provider()
        platform.ready_worker(queues=["other"])
        platform.enqueue(queue="mail")

        platform.schedule()

        assert live(platform) == [("PROVISIONING", "queue mail")]

    def test_by_no_provider_of_other_queues(self, platform: Platform) -> None:
        platform.provider(config={"queues": ["other"]})
        platform.enqueue(queue="mail")

        platform.schedule()

        assert live(platform) == []

    def test_by_nobody_where_no_provider_has_room(self, platform: Platform) -> None:
        provider = platform.provider(max_workers=1, config={"queues": ["other", "mail"]})
        platform.run_saga("PROVISIONING", provider_id=provider)
        platform.execute("""UPDATE workers SET spec = '{"queues": ["other"]}'""")
        platform.enqueue(queue="mail")

        platform.schedule()

        assert live(platform) == []

    def test_under_the_provider_of_people_nothing_is_made(self, platform: Platform) -> None:
        worker = platform.ready_worker()
        workers.terminate(worker, reason="r", actor=WHO)
        platform.enqueue()

        platform.schedule()

        assert live(platform) == []

    def test_what_failed_is_not_tried_again_at_once(self, platform: Platform) -> None:
        platform.provider(config={"refuses": True})
        platform.enqueue()
        platform.schedule()
        platform.drive()

        platform.schedule()
        assert live(platform) == []

        platform.execute("UPDATE sagas SET completed_at = now() - interval '31 seconds'")
        platform.schedule()
        assert live(platform) == [("PROVISIONING", "queue default")]

    def test_a_place_that_a_vanished_worker_holds_becomes_free(self, platform: Platform) -> None:
        worker = made_worker(platform, max_workers=1)
        platform.silence(worker)
        platform.enqueue()

        platform.schedule()
        platform.schedule()

        assert platform.worker_state(worker) == "TERMINATED"
        assert live(platform) == [("PROVISIONING", "queue default")]


class TestRecovery:
    def executed(self, platform: Platform, worker: uuid.UUID) -> uuid.UUID:
        """A job that this worker runs, and its EXECUTION, which rests."""
        job = platform.enqueue(orchestrated=True)
        start("EXECUTION", {"job_id": str(job)}, key=str(job))
        platform.drive()
        assert orchestration.look(job).held_by == worker
        platform.execute(
            "UPDATE jobs SET state = 'RUNNING', attempts = 1, started_at = now() WHERE id = %s",
            [job],
        )
        platform.execute("UPDATE sagas SET pause_requested_at = now() WHERE outcome IS NULL")
        return job

    @pytest.mark.parametrize("sign", ["silent", "gone"])
    def test_for_a_job_whose_worker_is_lost(self, platform: Platform, sign: str) -> None:
        worker = made_worker(platform)
        job = self.executed(platform, worker)
        platform.schedule()
        assert live(platform) == [("EXECUTION", str(job))]

        if sign == "silent":
            platform.silence(worker)
        else:
            platform.execute("""UPDATE workers SET handle = handle || '{"gone": true}'""")
        platform.schedule()
        platform.schedule()

        assert live(platform) == [("EXECUTION", str(job)), ("RECOVERY", str(worker))]

    def test_one_for_all_the_jobs_of_a_worker(self, platform: Platform) -> None:
        worker = made_worker(platform, config={"concurrency": 5})
        jobs = [self.executed(platform, worker) for _ in range(3)]
        platform.silence(worker)

        platform.schedule()
        assert live(platform)[3:] == [("RECOVERY", str(worker))]

        platform.execute("UPDATE sagas SET pause_requested_at = NULL")

        def holders() -> set[uuid.UUID | None]:
            platform.hurry()
            platform.drive()
            return {orchestration.look(job).held_by for job in jobs}

        assert eventually(lambda: holders().isdisjoint({None, worker}))
        assert len(holders()) == 1
        platform.schedule()
        assert {kind for kind, _ in live(platform)} == {"EXECUTION"}

    def test_a_job_that_waits_again_needs_a_worker_and_no_recovery(
        self, platform: Platform
    ) -> None:
        worker = made_worker(platform)
        job = self.executed(platform, worker)
        workers.terminate(worker, reason="r", actor=WHO)

        platform.schedule()

        assert live(platform) == [("EXECUTION", str(job)), ("PROVISIONING", "queue default")]

    def test_not_for_one_that_another_worker_has(self, platform: Platform) -> None:
        worker = made_worker(platform)
        job = self.executed(platform, worker)
        workers.terminate(worker, reason="r", actor=WHO)
        platform.ready_worker()
        assert orchestration.assign(job, actor=WHO)

        platform.schedule()

        assert live(platform) == [("EXECUTION", str(job))]

    def test_what_failed_is_not_tried_again_at_once(self, platform: Platform) -> None:
        worker = platform.ready_worker()
        job = self.executed(platform, worker)
        platform.silence(worker)
        platform.schedule()
        platform.drive()
        assert platform.value("SELECT outcome FROM sagas WHERE saga_type = 'RECOVERY'") == (
            "COMPENSATED"
        )

        platform.schedule()

        assert live(platform) == [("EXECUTION", str(job))]


class TestTheRest:
    def test_timeout_for_a_run_that_nobody_ends(self, platform: Platform) -> None:
        worker = platform.ready_worker()
        job = platform.running_job(worker, timeout=timedelta(seconds=5))
        platform.schedule()
        assert live(platform) == []

        platform.execute("UPDATE jobs SET started_at = now() - interval '36 seconds'")
        platform.schedule()

        assert live(platform) == [("TIMEOUT", str(job))]

    def test_cleanup_for_what_an_ended_worker_left(self, platform: Platform) -> None:
        worker = made_worker(platform)
        workers.terminate(worker, reason="r", actor=WHO)
        platform.schedule()
        assert live(platform) == []

        platform.execute("UPDATE workers SET updated_at = now() - interval '2 minutes'")
        platform.schedule()
        assert live(platform) == [("CLEANUP", str(worker))]

        platform.drive()
        platform.execute("UPDATE workers SET updated_at = now() - interval '2 minutes'")
        platform.schedule()
        assert live(platform) == []


@pytest.mark.parametrize(
    ("waiting", "serving", "found"),
    [
        (["a", "b"], [], ["a", "b"]),
        (["a", "b"], [frozenset({"a"})], ["b"]),
        (["a", "b"], [frozenset({"a"}), frozenset({"b"})], []),
        (["a", "b"], [frozenset({"a"}), None], []),
        ([], [], []),
    ],
)
def test_queues_that_nobody_serves(waiting: Any, serving: Any, found: Any) -> None:
    assert unserved(waiting, serving) == found
