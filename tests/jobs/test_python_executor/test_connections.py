from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connections

from jobs.callables import callee
from jobs.connections import tidy
from jobs.executors.python import PythonExecutor
from tests.databases import alias_of
from tests.jobs import example_tasks as examples
from tests.jobs.conftest import Jobs
from tests.jobs.test_python_executor.kit import failures, running
from tests.processes import eventually


class TestConnections:
    def test_one_connection_serves_all_tasks_of_a_slot(self, tasks: Jobs) -> None:
        for _ in range(10):
            examples.backend_pid.enqueue()
        tasks.drain()

        assert tasks.value("SELECT count(DISTINCT result) FROM jobs") == 1

    def test_a_broken_one_is_replaced(self, tasks: Jobs) -> None:
        examples.backend_pid.enqueue()
        examples.break_the_connection.enqueue()
        examples.backend_pid.enqueue()
        tasks.drain()

        assert sorted(tasks.rows("SELECT state FROM jobs")) == [
            ("FAILED",),
            ("SUCCEEDED",),
            ("SUCCEEDED",),
        ]
        assert tasks.value("SELECT count(DISTINCT result) FROM jobs") == 2

    def test_none_is_left_open(self, tasks: Jobs) -> None:
        examples.backend_pid.enqueue()
        tasks.drain()

        pid = tasks.value("SELECT result FROM jobs")
        assert eventually(
            lambda: not tasks.rows("SELECT FROM pg_stat_activity WHERE pid = %s", [int(pid)])
        )

    def test_one_of_a_pool_goes_back_to_it_for_another_slot(self, tasks: Jobs) -> None:
        connections["default"].ensure_connection()
        info = connections["default"].connection.info
        database = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": info.dbname,
            "HOST": info.host,
            "PORT": str(info.port),
            "USER": info.user,
            "PASSWORD": info.password,
        }
        pids: list[Any] = []

        def slot() -> None:
            with connections["pooled"].cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                pids.append(cursor.fetchone()[0])
            tidy(connections["pooled"])
            both_had_it.wait(30)

        pool = {"min_size": 1, "max_size": 1, "timeout": 30}
        both_had_it = threading.Barrier(2)
        with alias_of(database, "pooled"):
            connections.settings["pooled"]["OPTIONS"] = {"pool": pool}
            slots = [threading.Thread(target=slot) for _ in range(2)]
            for thread in slots:
                thread.start()
            for thread in slots:
                thread.join(30)
        assert len(pids) == 2
        assert len(set(pids)) == 1


class TestCompleteInTransaction:
    def work(self, jobs: Jobs) -> int:
        return int(jobs.value("SELECT count(*) FROM job_log_garbage"))

    @pytest.mark.parametrize("then", ["return", "raise"])
    def test_the_work_and_its_end_are_one(self, tasks: Jobs, then: str) -> None:
        examples.complete.enqueue(then)
        tasks.drain()

        assert tasks.rows("SELECT state, result, completed_at IS NOT NULL FROM jobs") == [
            ("SUCCEEDED", '"in the transaction"', True)
        ]
        assert self.work(tasks) == 1
        assert failures(tasks) == []
        assert tasks.value("SELECT count(*) FROM job_leases") == 0

    def test_what_is_rolled_back_is_neither(self, tasks: Jobs) -> None:
        examples.complete.enqueue("roll back")
        tasks.drain()

        assert tasks.rows("SELECT state, result FROM jobs") == [("SUCCEEDED", '"caught"')]
        assert self.work(tasks) == 0

    def test_outside_of_a_transaction_it_is_refused(self, tasks: Jobs) -> None:
        examples.complete.enqueue("outside")
        tasks.drain()

        assert tasks.value("SELECT state FROM jobs") == "FAILED"
        assert "inside of transaction.atomic()" in failures(tasks)[0][2]

    def test_a_lease_that_is_lost_takes_the_work_with_it(self, tasks: Jobs) -> None:
        result = examples.complete.enqueue("wait")
        worker = tasks.worker()
        with running(worker):
            assert examples.began.wait(30)
            tasks.execute("UPDATE job_leases SET epoch = epoch + 1000000")
            examples.go_on.set()
            assert eventually(lambda: worker.runs == 1)

        assert self.work(tasks) == 0
        assert tasks.state(result.id) == "RUNNING"

    def test_its_lock_lets_renewals_pass(self, tasks: Jobs) -> None:
        """What holds the lock may take long, and other leases are renewed in the same statement."""
        from jobs import leases
        from jobs.context import JobContext
        from jobs.runs import Run

        examples.nothing.enqueue()
        import uuid

        from django.db import transaction

        from hodei.sessions import connect

        with connect("default", "test") as other, connect("default", "worker") as session:
            (job,) = leases.claim(session, uuid.uuid4(), ["default"], 1, starting=1)
            other.execute("SET lock_timeout = '5s'")
            with transaction.atomic():
                JobContext(Run(job, uuid.uuid4())).complete_in_transaction()
                assert leases.renew(other, [(job.id, job.epoch)]) == {job.id: False}
                # And nobody takes it away.
                other.execute("UPDATE job_leases SET expires_at = now() - interval '1 hour'")
                assert leases.rescue(other) == []
            assert leases.finish(session, []) == set()
        assert tasks.state(job.id) == "SUCCEEDED"


class TestCost:
    def test_a_task_is_imported_once(self, tasks: Jobs) -> None:
        callee.cache_clear()
        for _ in range(50):
            examples.nothing.enqueue()
        tasks.drain()

        info = callee.cache_info()
        assert (info.misses, info.hits >= 99) == (1, True)

    def test_a_sync_run_costs_no_query(self, tasks: Jobs) -> None:
        from django.test.utils import CaptureQueriesContext

        from jobs.runs import Claimed, Run

        job = Claimed(
            *(
                None,
                1,
                '{"python": {"task": "tests.jobs.example_tasks.nothing", "backend": "default"}}',
            ),
            *(1, 3, None, "", None, None, None, None, 0, "{}", True, 0, 1, "default"),  # type: ignore[arg-type]
        )
        with CaptureQueriesContext(connections["default"]) as queries:
            PythonExecutor(inline=True).run(Run(job, None))  # type: ignore[arg-type]
        assert len(queries) == 0
