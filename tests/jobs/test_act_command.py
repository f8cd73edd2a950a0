"""jobs_act: what an operator decides about one job."""

from __future__ import annotations

import uuid
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command, load_command_class
from django.db import connection
from django.test.utils import CaptureQueriesContext

from hodei.admin.actions import LONGEST_REASON
from hodei.schema.management import decisions
from jobs.admin.decisions import JOB_ACTIONS
from jobs.management.commands.jobs_act import ACTIONS
from jobs.services import lifecycle
from jobs.states import JOB_DECISIONS
from tests.jobs import executors
from tests.jobs.conftest import Jobs
from tests.jobs.kit import running
from tests.processes import eventually

WHY = ("--reason", "as agreed")


def act(*words: object) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("jobs_act", *map(str, words), stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def refused(*words: object) -> tuple[int, str]:
    with pytest.raises(CommandError) as found:
        act(*words)
    return found.value.returncode, str(found.value)


def failed(jobs: Jobs) -> uuid.UUID:
    job = jobs.enqueue(max_attempts=2)
    jobs.execute("DELETE FROM job_queue WHERE job_id = %s", [job])
    jobs.execute("UPDATE jobs SET state = 'FAILED', attempts = 2 WHERE id = %s", [job])
    return job


def told(jobs: Jobs) -> list[tuple[str, str]]:
    return jobs.rows(
        "SELECT event_type, payload ->> 'reason' FROM audit_logs ORDER BY occurred_at, id"
    )


def everything(jobs: Jobs) -> list[Any]:
    return [
        jobs.rows(f"SELECT to_jsonb(t) FROM {table} AS t ORDER BY 1::text")
        for table in ("jobs", "job_queue", "job_leases", "audit_logs")
    ]


def test_it_offers_what_the_admin_offers() -> None:
    names = {name.replace("-", "_") for name in ACTIONS}

    assert names == {action.name for action in JOB_ACTIONS} == set(JOB_DECISIONS)
    assert decisions.LONGEST_REASON == LONGEST_REASON


@pytest.mark.django_db
class TestDone:
    def test_cancel(self, jobs: Jobs) -> None:
        job = jobs.enqueue()

        assert act(job, "cancel", *WHY) == ("Cancelled: it never begins.\n", "")

        assert jobs.state(job) == "CANCELLED"
        assert jobs.place(job) == []
        assert told(jobs) == [("JobCancelled", "as agreed")]
        assert "@" in jobs.value("SELECT actor FROM audit_logs")

    def test_hold_and_release(self, jobs: Jobs) -> None:
        job = jobs.enqueue()

        assert act(job, "hold", *WHY)[0] == "Held: it does not run until it is released.\n"
        assert jobs.state(job) == "MANUAL_INTERVENTION_REQUIRED"
        assert jobs.place(job) == []
        assert act(job, "release", *WHY)[0] == "Released: it waits in its queue again.\n"

        assert jobs.state(job) == "PENDING"
        assert jobs.place(job) == ["job_queue"]
        assert [name for name, _ in told(jobs)] == ["JobHeld", "JobReleased"]

    def test_retry(self, jobs: Jobs) -> None:
        job = failed(jobs)

        assert act(job, "retry", *WHY)[0] == "It waits in its queue again.\n"

        assert jobs.rows("SELECT state, attempts, max_attempts FROM jobs") == [("PENDING", 2, 3)]
        assert jobs.place(job) == ["job_queue"]

    @pytest.mark.parametrize("priority", [-100, -1, 0, 100])
    def test_set_priority(self, jobs: Jobs, priority: int) -> None:
        job = jobs.enqueue(priority=3)

        said = act(job, "set-priority", "--priority", priority, *WHY)[0]

        assert said == f"It has the priority {priority}.\n"
        for table in ("jobs", "job_queue"):
            assert jobs.value(f"SELECT priority FROM {table}") == priority

    def test_delete(self, jobs: Jobs) -> None:
        job = jobs.enqueue()

        assert act(job, "delete", *WHY)[0] == "Deleted; the audit stays.\n"

        assert jobs.value("SELECT count(*) FROM jobs") == 0
        assert told(jobs) == [("JobDeleted", "as agreed")]

    @pytest.mark.parametrize("action", sorted(ACTIONS))
    def test_a_dry_run_says_what_it_would_do(self, jobs: Jobs, action: str) -> None:
        job = failed(jobs) if action == "retry" else jobs.enqueue()
        if action == "release":
            lifecycle.hold(job, reason="x", actor="ada")
        further = ("--priority", 7) if action == "set-priority" else ()
        before = everything(jobs)

        said, beside = act(job, action, "--dry-run", *further, *WHY)

        assert everything(jobs) == before
        assert beside == "Nothing was changed: it would have been (--dry-run).\n"
        assert act(job, action, *further, *WHY)[0] == said
        assert everything(jobs) != before


@pytest.mark.django_db
class TestRefused:
    def test_what_is_not_possible_now(self, jobs: Jobs) -> None:
        job = jobs.enqueue()
        before = everything(jobs)

        for action, why in (
            ("retry", "cannot be retried; only FAILED and TIMEOUT can be."),
            ("release", "cannot be released; only a held one can be."),
        ):
            assert refused(job, action, *WHY) == (
                1,
                f"Job {job} is PENDING and {why} Nothing was changed.",
            )

        assert everything(jobs) == before

    def test_what_has_ended(self, jobs: Jobs) -> None:
        job = jobs.enqueue()
        act(job, "cancel", *WHY)
        before = everything(jobs)

        for action, further in (("cancel", ()), ("hold", ()), ("set-priority", ("--priority", 1))):
            code, said = refused(job, action, *further, *WHY)
            assert code == 1
            assert said.startswith(f"Job {job} is CANCELLED and cannot be ")
            assert said.endswith(" Nothing was changed.")

        assert everything(jobs) == before

    @pytest.mark.parametrize("action", sorted(ACTIONS))
    def test_what_is_not_there(self, jobs: Jobs, action: str) -> None:
        further = ("--priority", 7) if action == "set-priority" else ()
        nobody = uuid.UUID(int=7)

        assert refused(nobody, action, *further, *WHY) == (1, f"There is no job {nobody}.")

    @pytest.mark.parametrize(
        ("words", "code", "message"),
        [
            (("cancel",), 2, 'Say why: --reason "it was ordered twice".'),
            (("cancel", "--reason", " \n"), 2, "Say why"),
            (
                ("cancel", "--reason", "x" * 1_001),
                2,
                "--reason has 1,001 characters; at most 1,000",
            ),
            (("cancel", "--reason", "a\0"), 2, "--reason is 'a\\x00'; it holds a NUL"),
            (("cancel", "--priority", "1", *WHY), 2, "cancel takes no --priority."),
            (("set-priority", *WHY), 2, "set-priority needs --priority."),
            (("set-priority", "--priority", "101", *WHY), 1, "'101' is no priority; give -100 to"),
            (("set-priority", "--priority", "much", *WHY), 1, "'much' is no priority"),
            (("set_priority", "--priority", "1", *WHY), 1, "invalid choice"),
            (("requeue", *WHY), 1, "invalid choice"),
            ((*WHY,), 1, "required: ACTION"),
            (("cancel", "--database", "nowhere", *WHY), 2, "There is no database 'nowhere'"),
        ],
    )
    def test_misuse(self, jobs: Jobs, words: tuple[str, ...], code: int, message: str) -> None:
        job = jobs.enqueue()
        before = everything(jobs)

        found, said = refused(job, *words)

        assert (found, message in said) == (code, True), said
        assert "\n" not in said
        assert everything(jobs) == before

    def test_what_is_no_id(self) -> None:
        assert "'first' is no id of a job." in refused("first", "cancel", *WHY)[1]

    def test_a_reason_has_no_secrets(self, jobs: Jobs) -> None:
        job = jobs.enqueue()

        act(job, "hold", "--reason", "password=hush-hush")

        assert "hush-hush" not in str(everything(jobs))


def test_the_help_parts_it_from_jobs_requeue() -> None:
    """For one by its id here, for many by a filter there: each names the other."""
    assert "jobs_requeue" in load_command_class("jobs", "jobs_act").help
    assert "jobs_act" in load_command_class("jobs", "jobs_requeue").help


@pytest.mark.django_db
@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_it_asks_no_more_than_its_service(jobs: Jobs, action: str) -> None:
    kept = ("SAVEPOINT", "RELEASE SAVEPOINT")

    def asked(run: Any) -> list[str]:
        with CaptureQueriesContext(connection) as found:
            run()
        return [one["sql"] for one in found.captured_queries if not one["sql"].startswith(kept)]

    def one() -> uuid.UUID:
        job = failed(jobs) if action == "retry" else jobs.enqueue()
        if action == "release":
            lifecycle.hold(job, reason="x", actor="ada")
        return job

    given: dict[str, Any] = {"priority": 7} if action == "set-priority" else {}
    here, there = one(), one()
    act(one(), action, *(("--priority", 7) if given else ()), *WHY)

    words = asked(lambda: act(here, action, *(("--priority", 7) if given else ()), *WHY))
    service = getattr(lifecycle, action.replace("-", "_"))
    alone = asked(lambda: service(there, reason="as agreed", actor="ada", **given))

    assert len(words) == len(alone)


@pytest.mark.usefixtures("many_renewals")
def test_one_that_runs_is_stopped_by_its_worker(jobs: Jobs) -> None:
    job = jobs.enqueue(do="wait")
    with running(jobs.worker()):
        assert executors.began.wait(30)

        code, said = refused(job, "hold", *WHY)
        assert (code, said.startswith(f"Job {job} is RUNNING and cannot be held")) == (1, True)
        assert act(job, "cancel", *WHY) == (
            "Asked its worker to stop it; it is CANCELLED when the run has ended.\n",
            "",
        )

        assert eventually(lambda: jobs.state(job) == "CANCELLED")


def test_a_dry_run_asks_no_worker(jobs: Jobs) -> None:
    job = jobs.enqueue(do="wait")
    with running(jobs.worker()):
        assert executors.began.wait(30)

        act(job, "cancel", "--dry-run", *WHY)
        assert jobs.value("SELECT count(*) FROM job_leases WHERE cancel_requested_at IS NULL") == 1
        executors.go_on.set()

        assert eventually(lambda: jobs.state(job) == "SUCCEEDED")
