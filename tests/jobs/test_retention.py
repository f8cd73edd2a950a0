"""jobs_prune: what is old goes, in batches; what is not, and what has not ended, stays."""

from __future__ import annotations

import uuid
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import Error

from hodei.sessions import connect
from jobs.services import retention
from jobs.services.retention import PRUNE, Keep, PruneBusy, preview, prune
from jobs.services.tokens import issue_token
from jobs.states import JOB_FINAL, JobState
from tests.jobs.conftest import Jobs
from tests.jobs.test_workers.kit import make_provider, make_worker

DAY = timedelta(days=1)


def ended(jobs: Jobs, state: str, days: float, created: float | None = None) -> uuid.UUID:
    job = jobs.enqueue(1)
    jobs.execute("DELETE FROM job_queue WHERE job_id = %s", [job])
    jobs.execute(
        "UPDATE jobs SET state = %s, completed_at = now() - %s * interval '1 day', "
        "created_at = now() - %s * interval '1 day' WHERE id = %s",
        [state, days, created or days, job],
    )
    return job


def pruned(keep: Keep | None = None, **options: Any) -> dict[str, int]:
    return {one.what: one.rows for one in prune(keep, **options) if one.rows}


def ids(jobs: Jobs) -> set[uuid.UUID]:
    return {row[0] for row in jobs.rows("SELECT id FROM jobs")}


@pytest.mark.django_db
class TestPrune:
    def test_each_state_has_its_time(self, jobs: Jobs) -> None:
        made = {
            (state, days): ended(jobs, state, days) for state in JOB_FINAL for days in (6, 8, 31)
        }

        assert pruned() == {
            "SUCCEEDED jobs": 2, "CANCELLED jobs": 2, "FAILED jobs": 1, "TIMEOUT jobs": 1
        }  # fmt: skip
        assert ids(jobs) == {
            job
            for (state, days), job in made.items()
            if days == 6 or (days == 8 and state in {JobState.FAILED, JobState.TIMEOUT})
        }

    def test_what_has_not_ended_stays_however_old(self, jobs: Jobs) -> None:
        for state in set(JobState) - JOB_FINAL:
            ended(jobs, state, 1000)

        assert pruned() == {}

    def test_the_end_counts_not_the_begin(self, jobs: Jobs) -> None:
        ended(jobs, "SUCCEEDED", 1, created=300)

        assert pruned() == {}

    def test_what_belongs_to_a_job_goes_with_it(self, jobs: Jobs) -> None:
        job = ended(jobs, "FAILED", 99)
        jobs.execute(
            "INSERT INTO job_failed_attempts (job_id, attempt, kind) VALUES (%s, 1, 'Unknown')",
            [job],
        )
        jobs.execute(
            "INSERT INTO job_log_files (job_id, storage_uri, expires_at) "
            "VALUES (%s, 'file:///a', now() + interval '1 year')",
            [job],
        )

        pruned(Keep(logs=False))

        assert jobs.value("SELECT count(*) FROM job_failed_attempts") == 0
        assert jobs.rows("SELECT storage_uri FROM job_log_garbage") == [("file:///a",)]

    def test_defect_3_5_audit_records(self, jobs: Jobs) -> None:
        for days in (1, 89, 91, 400):
            jobs.execute(
                "INSERT INTO audit_logs (id, event_type, payload, occurred_at) "
                "VALUES (gen_random_uuid(), 'A', '{}', now() - %s * interval '1 day')",
                [days],
            )

        assert pruned() == {"audit records": 2}
        assert pruned(Keep(audit=None)) == {}
        assert pruned(Keep(audit=timedelta())) == {"audit records": 2}

    def test_defect_3_6_tokens(self, jobs: Jobs) -> None:
        used, expired, _live, fresh = (uuid.uuid4() for _ in range(4))
        for worker in (used, expired, _live, fresh):
            issue_token(worker, actor="me")
        change = "UPDATE worker_bootstrap_tokens SET {} WHERE worker_id = %s"
        long_ago = "expires_at = now() - interval '2 days'"
        jobs.execute(change.format(f"consumed_at = now() - interval '3 days', {long_ago}"), [used])
        jobs.execute(change.format(long_ago), [expired])
        jobs.execute(change.format("expires_at = now() - interval '1 hour'"), [fresh])

        assert pruned() == {"tokens": 2}
        assert {row[0] for row in jobs.rows("SELECT worker_id FROM worker_bootstrap_tokens")} == {
            _live,
            fresh,
        }

    def test_workers_that_ended(self, jobs: Jobs) -> None:
        provider = make_provider()
        for state in ("TERMINATED", "FAILED", "READY", "CREATING"):
            make_worker(jobs, state, provider)
        jobs.execute("UPDATE workers SET updated_at = now() - interval '31 days'")
        recent = make_worker(jobs, "TERMINATED", provider)

        assert pruned() == {"workers that ended": 2}
        assert recent in {row[0] for row in jobs.rows("SELECT id FROM workers")}

    def test_a_worker_stays_while_its_infrastructure_may(self, jobs: Jobs) -> None:
        """Who is to destroy it finds it by the row."""
        handles = {
            "there": '{"infrastructure": {}}',
            "gone": '{"infrastructure": {}, "destroyed": true}',
            "by hand": "{}",
            "as others wrote it": "[1]",
        }
        for handle in handles.values():
            worker = make_worker(jobs, "TERMINATED")
            jobs.execute(
                "UPDATE workers SET handle = %s::jsonb, updated_at = now() - interval '31 days' "
                "WHERE id = %s",
                [handle, worker],
            )

        assert pruned() == {"workers that ended": 3}
        assert jobs.value("SELECT handle::text FROM workers") == handles["there"]

    def test_a_preview_deletes_nothing_and_says_the_same(self, jobs: Jobs) -> None:
        for number in range(5):
            ended(jobs, "SUCCEEDED", 8 + number)

        expected = {one.what: one.rows for one in preview()}

        assert len(ids(jobs)) == 5
        assert {one.what: one.rows for one in prune() if one.what != "log files"} == expected
        assert expected["SUCCEEDED jobs"] == 5

    @pytest.mark.parametrize("age", [timedelta(-1), timedelta(36_501), 5, "7"])
    def test_an_age_has_bounds(self, age: Any) -> None:
        with pytest.raises(ValueError, match="timedelta of 0 to 36500 days"):
            Keep(audit=age)
        with pytest.raises(ValueError, match="timedelta of 0 to 36500 days"):
            Keep(jobs={JobState.FAILED: age})

    def test_a_state_that_is_not_final_is_refused(self) -> None:
        with pytest.raises(ValueError, match="RUNNING, which is no final state"):
            Keep(jobs={JobState.RUNNING: DAY})


class TestBatches:
    def test_it_stops_between_batches_and_goes_on(self, jobs: Jobs) -> None:
        for number in range(7):
            ended(jobs, "SUCCEEDED", 30 - number)
        asked = iter([False, True, True])

        assert pruned(batch=2, stop=lambda: next(asked, True)) == {"SUCCEEDED jobs": 4}
        assert len(ids(jobs)) == 3
        assert pruned(batch=2) == {"SUCCEEDED jobs": 3}

    def test_many_that_ended_at_one_time(self, jobs: Jobs) -> None:
        for _ in range(7):
            ended(jobs, "SUCCEEDED", 30)

        assert pruned(batch=2) == {"SUCCEEDED jobs": 7}

    def test_a_time_that_no_clock_can_show_keeps_nothing_from_it(self, jobs: Jobs) -> None:
        for instant in ("-infinity", "0100-01-01 BC", "infinity"):
            job = ended(jobs, "SUCCEEDED", 8)
            jobs.execute("UPDATE jobs SET created_at = %s WHERE id = %s", [instant, job])
        ended(jobs, "SUCCEEDED", 8)

        assert pruned(batch=1) == {"SUCCEEDED jobs": 3}

    def test_one_at_a_time(self, jobs: Jobs) -> None:
        ended(jobs, "SUCCEEDED", 30)
        with connect("default", "other") as other, other.transaction():
            other.execute("SELECT pg_advisory_xact_lock(%s, 0)", [PRUNE])
            with pytest.raises(PruneBusy):
                pruned()
            assert len(ids(jobs)) == 1

        assert pruned() == {"SUCCEEDED jobs": 1}

    def test_what_another_changes_now_is_left_alone(self, jobs: Jobs) -> None:
        kept, gone = ended(jobs, "FAILED", 99), ended(jobs, "FAILED", 98)
        with connect("default", "other") as other, other.transaction():
            other.execute("UPDATE jobs SET state = 'PENDING' WHERE id = %s", [kept])
            assert pruned() == {"FAILED jobs": 1}

        assert gone not in ids(jobs)
        assert jobs.state(kept) == "PENDING"

    def test_afterwards_the_audit_refuses_again(self, jobs: Jobs) -> None:
        jobs.execute(
            "INSERT INTO audit_logs (id, event_type, payload, occurred_at) "
            "VALUES (gen_random_uuid(), 'A', '{}', now())"
        )
        pruned()
        with pytest.raises(Error, match="append-only"):
            jobs.execute("DELETE FROM audit_logs")


@pytest.mark.django_db
class TestPlan:
    def test_old_jobs_are_found_by_an_index(self, jobs: Jobs) -> None:
        jobs.execute(
            "INSERT INTO jobs (id, spec, state, created_at, completed_at) "
            "SELECT gen_random_uuid(), '{}', 'SUCCEEDED', now() - n * interval '1 hour', "
            "now() - n * interval '1 hour' FROM generate_series(1, 5000) AS s (n)"
        )
        jobs.execute("ANALYZE jobs")
        plan = jobs.rows(
            "EXPLAIN SELECT id FROM jobs WHERE "
            + retention._JOBS
            + " AND created_at >= '-infinity' ORDER BY created_at LIMIT 1000 FOR UPDATE",
            {"state": "SUCCEEDED", "before": "2020-01-01"},
        )

        assert "jobs_state_created_idx" in str(plan)


@pytest.mark.django_db
class TestCommand:
    def run(self, *words: str) -> str:
        out = StringIO()
        call_command("jobs_prune", *words, stdout=out, stderr=StringIO())
        return out.getvalue()

    def test_dry_run(self, jobs: Jobs) -> None:
        ended(jobs, "SUCCEEDED", 8)

        said = self.run("--dry-run")

        assert "SUCCEEDED jobs                 1\n" in said
        assert len(ids(jobs)) == 1
        assert "SUCCEEDED jobs                 1\n" in self.run()
        assert ids(jobs) == set()

    def test_ages(self, jobs: Jobs) -> None:
        ended(jobs, "SUCCEEDED", 8)
        assert "SUCCEEDED" not in self.run("--succeeded", "never")
        assert "SUCCEEDED jobs                 0\n" in self.run("--succeeded", "9")
        assert "SUCCEEDED jobs                 1\n" in self.run("--succeeded", "0.5")

    @pytest.mark.parametrize("age", ["-1", "x", "nan", "1e9", "inf", ""])
    def test_what_is_no_age(self, jobs: Jobs, age: str) -> None:
        with pytest.raises(CommandError, match="no number of days"):
            self.run(f"--audit={age}")
