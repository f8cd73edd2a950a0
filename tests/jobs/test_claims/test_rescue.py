from __future__ import annotations

from hodei.sessions import connect
from jobs import leases
from jobs.services import lifecycle
from tests.jobs.conftest import Jobs
from tests.jobs.test_claims.kit import Session, claim, ended


class TestRescue:
    def expire(self, jobs: Jobs) -> None:
        jobs.execute("UPDATE job_leases SET expires_at = now() - interval '1 s'")

    def test_defect_3_2_puts_back_what_a_dead_worker_held(
        self, jobs: Jobs, session: Session
    ) -> None:
        running, assigned = jobs.enqueue(1), jobs.enqueue(2)
        claim(session, starting=1)
        assert leases.rescue(session) == []
        self.expire(jobs)

        assert {row[0] for row in leases.rescue(session)} == {running, assigned}
        assert jobs.rows("SELECT state, attempts, lost_leases FROM jobs ORDER BY id") == [
            ("PENDING", 0, 1),
            ("PENDING", 0, 0),
        ]
        assert jobs.place(running) == jobs.place(assigned) == ["job_queue"]
        assert jobs.rows("SELECT job_id FROM job_failed_attempts") == [(running,)]

    def test_defect_3_2_what_had_not_begun_keeps_its_place(
        self, jobs: Jobs, session: Session
    ) -> None:
        for n in range(3):
            jobs.enqueue(n)
        line = jobs.rows("SELECT id, job_id, enqueued_at FROM job_queue ORDER BY id")
        begun, _ = claim(session, 2, starting=1)
        self.expire(jobs)
        leases.rescue(session)

        (one, *others) = line
        assert jobs.rows("SELECT id, job_id, enqueued_at FROM job_queue ORDER BY id LIMIT 2") == (
            others
        )
        assert jobs.rows("SELECT job_id FROM job_queue ORDER BY id DESC LIMIT 1") == [(begun.id,)]
        assert one[1] == begun.id

    def test_what_is_lost_again_waits_at_random_and_meets_others(
        self, jobs: Jobs, session: Session
    ) -> None:
        for n in range(20):
            jobs.enqueue(n)
        for _ in range(2):
            claim(session, 20)
            self.expire(jobs)
            leases.rescue(session)

        waits = jobs.rows(
            "SELECT extract(epoch FROM d.run_after - clock_timestamp())::float8, "
            "d.run_after = j.run_after FROM job_queue_deferred AS d JOIN jobs AS j ON j.id = job_id"
        )
        seconds = [row[0] for row in waits]
        assert len(seconds) == 20
        assert all(row[1] for row in waits)
        assert -5 < min(seconds) < leases.APART_SECONDS / 2 < max(seconds) < leases.APART_SECONDS

    def test_pitfall_9_a_long_run_with_a_live_lease_is_left_alone(
        self, jobs: Jobs, session: Session
    ) -> None:
        jobs.enqueue(1)
        claim(session)
        jobs.execute("UPDATE jobs SET started_at = now() - interval '1 day'")

        assert leases.rescue(session) == []

    def test_defect_3_1_one_that_waited_long_is_not_taken_for_stuck(
        self, jobs: Jobs, session: Session
    ) -> None:
        """There a job was judged by when it was made."""
        job = jobs.enqueue(1)
        jobs.execute("UPDATE jobs SET created_at = now() - interval '1 year'")
        jobs.execute("UPDATE job_queue SET enqueued_at = now() - interval '1 year'")
        claim(session, starting=0)

        assert leases.rescue(session) == []
        assert jobs.state(job) == "ASSIGNED"

    def test_gives_up_after_five(self, jobs: Jobs, session: Session) -> None:
        job = jobs.enqueue(1)
        for _ in range(leases.MOST_LOST_LEASES):
            assert jobs.state(job) == "PENDING"
            jobs.execute("UPDATE job_queue_deferred SET run_after = now()")
            leases.promote(session)
            claim(session)
            self.expire(jobs)
            leases.rescue(session)

        assert jobs.rows("SELECT state, lost_leases, result ->> 'kind' FROM jobs") == [
            ("FAILED", 5, "InfrastructureError")
        ]
        assert jobs.place(job) == []

    def test_one_that_was_to_be_cancelled_is(self, jobs: Jobs, session: Session) -> None:
        job = jobs.enqueue(1)
        claim(session)
        lifecycle.cancel(job, reason="no", actor="me")
        self.expire(jobs)
        leases.rescue(session)

        assert jobs.state(job) == "CANCELLED"

    def test_a_finish_and_a_rescue_at_once_are_one_of_the_two(self, jobs: Jobs) -> None:
        """Two connections, each order: whoever deletes the lease decides."""
        for first in ("finish", "rescue"):
            jobs.execute("TRUNCATE jobs, job_queue, job_queue_deferred, job_leases, "
                         "job_failed_attempts, job_log_files, job_log_tails, workers")  # fmt: skip
            job = jobs.enqueue(1)
            with connect("default", "a") as one, connect("default", "b") as two:
                (claimed,) = claim(one)
                self.expire(jobs)
                one.execute("BEGIN")
                two.execute("BEGIN")
                if first == "finish":
                    assert leases.finish(one, [ended(claimed)]) == {job}
                    assert leases.rescue(two) == []
                else:
                    assert len(leases.rescue(two)) == 1
                    two.execute("COMMIT")
                    assert leases.finish(one, [ended(claimed)]) == set()
                one.execute("COMMIT")
                two.execute("ROLLBACK")
            assert jobs.state(job) == ("SUCCEEDED" if first == "finish" else "PENDING")
