"""Workers in processes that are killed and told to stop: no job is lost, none ends twice."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import runs
from tests.faults.conftest import Worker
from tests.faults.runs import Session
from tests.processes import eventually

pytestmark = pytest.mark.process

LEASES = {
    "jobs.leases.LEASE_SECONDS": 30.0,
    "jobs.leases.APART_SECONDS": 15.0,
    "jobs.rescuer.RESCUE_SECONDS": 5.0,
}


class TestKilled:
    @pytest.mark.parametrize(
        ("jobs", "kills", "patches"),
        [
            pytest.param(2_000, 3, {}, id="sample"),
            pytest.param(
                *(50_000, 30, LEASES),
                marks=[pytest.mark.slow, pytest.mark.timeout(600)],
                id="for-a-minute",
            ),
        ],
    )
    def test_no_job_is_lost_and_none_ends_twice(
        self,
        session: Session,
        noting: Worker,
        journal: Path,
        jobs: int,
        kills: int,
        patches: dict[str, float],
        record_property: Callable[[str, object], None],
    ) -> None:
        """Two workers, killed at random while they claim, run and finish. What they held is found
        by those that come after them, and nobody helps."""
        rng = random.Random(jobs)
        moments = sorted(rng.sample(range(jobs // 20, jobs - jobs // 20), kills))
        runs.watch_ends(session)
        runs.put(session, jobs // 2, seconds=0.02)
        workers = [noting(patches=patches) for _ in range(2)]
        runs.put(session, jobs - jobs // 2, seconds=0.02)

        def killed_and_done() -> bool:
            ended = runs.count(session, "ends")
            if moments and ended >= moments[0]:
                moments.pop(0)
                rng.choice(workers).send_signal(signal.SIGKILL)
            for number, worker in enumerate(workers):
                if worker.poll() is not None:
                    workers[number] = noting(patches=patches)
            return ended >= jobs and not moments

        assert eventually(killed_and_done, 500)
        assert eventually(lambda: runs.count(session, "job_leases") == 0)
        figures = runs.check(session, journal, jobs)
        record_property("figures", figures)
        # Somebody did hold jobs when it was killed.
        assert figures["lost leases"]

    @pytest.mark.slow
    def test_by_a_job_the_others_that_it_held_do_not_fail_with_that(
        self, session: Session, noting: Worker, journal: Path
    ) -> None:
        """The first of the queue, so that each worker begins it together with others."""
        runs.watch_ends(session)
        (poison,) = runs.put(session)
        session.execute("""UPDATE jobs SET spec = '{"noting": {"seconds": 0, "kills": true}}'""")
        runs.put(session, 100, seconds=0.05)
        worker = noting()
        killed = 0

        def given_up() -> bool:
            nonlocal worker, killed
            if worker.poll() is not None:
                killed += 1
                worker = noting()
            return runs.count(session, "ends") == 101

        assert eventually(given_up, 100)
        assert killed == 5
        assert session.execute(
            "SELECT id, lost_leases, result ->> 'kind' FROM jobs WHERE state <> 'SUCCEEDED'"
        ).fetchall() == [(poison, 5, "InfrastructureError")]


class TestTold:
    def test_to_stop_under_load_one_finishes_what_runs_and_returns_the_rest(
        self, session: Session, noting: Worker, journal: Path
    ) -> None:
        runs.watch_ends(session)
        runs.put(session, 3_000, seconds=0.02)
        worker = noting("--concurrency", "20")
        assert eventually(lambda: runs.count(session, "ends") > 100)

        worker.send_signal(signal.SIGTERM)
        told, _ = worker.communicate(timeout=60)

        began = runs.journal(journal, "began")
        assert worker.returncode == 0
        assert told == f"{len(began)} runs\n"
        assert len({line.job for line in began}) == len(began) < 3_000
        assert len(runs.journal(journal, "ended")) == len(began)
        assert runs.count(session, "ends", "state = 'SUCCEEDED'") == len(began)
        left = 3_000 - len(began)
        untouched = "state = 'PENDING' AND attempts = 0 AND lost_leases = 0"
        assert runs.count(session, "jobs", untouched) == left
        assert runs.count(session, "job_queue") == left
        assert runs.count(session, "job_leases") == 0
        assert session.execute("SELECT state FROM workers").fetchall() == [("TERMINATED",)]

    @pytest.mark.slow
    def test_twice_one_stops_at_once_and_another_runs_it_again(
        self, session: Session, noting: Worker, journal: Path
    ) -> None:
        runs.watch_ends(session)
        (job,) = runs.put(session, seconds=300)
        first = noting()
        assert eventually(lambda: len(runs.journal(journal, "began")) == 1)

        first.send_signal(signal.SIGTERM)
        fetches = "application_name LIKE 'hodei jobs fetcher%' AND datname = current_database()"
        assert eventually(lambda: runs.count(session, "pg_stat_activity", fetches) == 0)
        first.send_signal(signal.SIGTERM)

        first.wait(60)
        assert runs.count(session, "ends") == 0
        session.execute("""UPDATE jobs SET spec = '{"noting": {"seconds": 0}}'""")
        noting()
        assert eventually(lambda: runs.count(session, "ends") == 1)
        assert [line.what for line in runs.journal(journal)] == [
            *("began", "was-stopped"),
            *("began", "ended"),
        ]
        assert session.execute(
            "SELECT state, attempts, lost_leases FROM jobs WHERE id = %s", [job]
        ).fetchone() == ("SUCCEEDED", 1, 1)
