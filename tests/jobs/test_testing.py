"""The kit for the tests of others, in an ordinary TestCase."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test import TestCase
from django.utils import timezone

from jobs import testing
from jobs.services.queue import enqueue
from jobs.testing import assert_enqueued, enqueued, run_jobs
from tests.jobs import example_tasks as examples

HERE = "tests.jobs.example_tasks"


class KitTests(TestCase):
    def setUp(self) -> None:
        examples.noted.clear()

    def test_asserts_what_was_enqueued(self) -> None:
        result = examples.add.enqueue(1, right=2)

        for what in (examples.add, f"{HERE}.add", None):
            (job,) = assert_enqueued(what, args=[1], kwargs={"right": 2}, queue="default")
        assert str(job["id"]) == result.id
        assert_enqueued(examples.fail, times=0)
        assert_enqueued(examples.add, args=[2], times=0)
        assert_enqueued(examples.add, kwargs={}, times=0)
        assert_enqueued(examples.add, queue="mail", times=0)

    def test_says_what_is_there_instead(self) -> None:
        with pytest.raises(AssertionError, match="Enqueued are: none at all"):
            assert_enqueued(examples.add)
        examples.fail.enqueue("why")
        with pytest.raises(AssertionError) as caught:
            assert_enqueued(examples.add)

        assert f"0 such jobs of {HERE}.add are enqueued and 1 were expected" in str(caught.value)
        assert f"{HERE}.fail in default" in str(caught.value)

    def test_runs_what_is_due_in_order(self) -> None:
        for number in range(3):
            examples.add.using(priority=number).enqueue(number)
        ran = run_jobs()

        assert [one.result for one in ran] == [2, 1, 0]
        assert {one.state for one in ran} == {"SUCCEEDED"}
        assert enqueued() == []
        assert run_jobs() == []

    def test_leaves_what_is_due_later(self) -> None:
        later = timezone.now() + timedelta(hours=1)
        result = examples.add.using(run_after=later).enqueue(1)

        assert run_jobs() == []
        (ran,) = run_jobs(later=True)
        assert str(ran.id) == result.id

    def test_runs_of_some_queues(self) -> None:
        enqueue(spec={"python": {"task": f"{HERE}.add", "args": [1]}}, queue="mail")
        examples.add.enqueue(2)

        (ran,) = run_jobs(queues=["mail"])
        assert ran.result == 1

    def test_retries_until_it_is_given_up(self) -> None:
        result = examples.fail_always.enqueue()
        ran = run_jobs(later=True)
        result.refresh()

        assert [one.state for one in ran] == ["PENDING", "PENDING", "FAILED"]
        assert ran[-1].error == "Unlucky: always"
        assert (result.status, len(result.errors)) == ("FAILED", 3)

    def test_async_tasks_and_processes_are_part_of_the_test(self) -> None:
        examples.backend_pid_async.enqueue()
        examples.isolated.enqueue(1)
        pid, isolated = run_jobs()

        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            assert pid.result == cursor.fetchone()[0]
        assert isolated.state == "SUCCEEDED"

    def test_a_broken_transaction_is_mended(self) -> None:
        examples.break_the_transaction.enqueue()
        examples.add.enqueue(1)
        broken, fine = run_jobs()

        assert (broken.state, fine.state) == ("FAILED", "SUCCEEDED")
        assert "no_such_column" in str(broken.error)

    def test_a_job_may_complete_in_its_own_transaction(self) -> None:
        examples.complete.enqueue("return")
        (ran,) = run_jobs()

        assert (ran.state, ran.result) == ("SUCCEEDED", "in the transaction")

    def test_a_job_without_end_is_found(self) -> None:
        limit, testing.MOST_RUNS = testing.MOST_RUNS, 5
        try:
            examples.snooze_always.enqueue()
            with pytest.raises(AssertionError, match="5 runs, and there are more"):
                run_jobs()
        finally:
            testing.MOST_RUNS = limit
