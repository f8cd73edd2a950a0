"""By which index the statements that run all the time find their rows, and how many there are.

On tables with a history, as they are in use: a plan that reads a whole table would pass every other
test. With nothing told, and with everything told.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext

from hodei.sessions import connect
from hodei.sql import statement
from jobs import spec as specs
from jobs import telling
from jobs.leases import _BEYOND
from jobs.services import inspection, lifecycle, queue, retention
from jobs.services.requeue import RequeueFilter, _condition
from jobs.spec import NewJob
from jobs.states import FailureKind
from jobs.wakeup import WAKE
from tests.jobs.conftest import TABLES
from tests.plans import Plan
from tests.processes import ROOT

HISTORY, EACH = 20_000, 5_000
#: A small share of the rows: of a hundredth, older servers read the table whole, and rightly so.
MANY = 10
JOBS = """
    INSERT INTO jobs (id, spec, state, queue, idempotency_key, worker_id, created_at, completed_at,
                      correlation_id)
    SELECT md5(%s || n)::uuid, '{}', %s, 'q' || n %% 5, CASE WHEN n %% 2 = 0 THEN %s || n END,
           md5('w' || n)::uuid, now() - n * interval '1 minute', now(), 'c' || n %% 100
      FROM generate_series(1, %s) AS s (n)"""
REST = """
    INSERT INTO job_queue (job_id, queue, priority)
    SELECT id, queue, 0 FROM jobs WHERE state = 'PENDING' AND correlation_id < 'c5';
    INSERT INTO job_queue_deferred (job_id, run_after, queue)
    SELECT id, now() + interval '1 day', queue FROM jobs
     WHERE state = 'PENDING' AND correlation_id >= 'c5';
    INSERT INTO job_leases (job_id, worker_id, epoch, expires_at)
    SELECT id, worker_id, row_number() OVER (), now() + interval '1 minute' FROM jobs
     WHERE state = 'RUNNING';
    INSERT INTO job_failed_attempts (job_id, attempt, kind)
    SELECT id, n, 'Unknown' FROM jobs, generate_series(1, 2) AS s (n) WHERE state = 'FAILED';
    INSERT INTO provider_configs (id, name, provider_type) VALUES (gen_random_uuid(), 'p', 'test');
    UPDATE jobs SET selected_provider_id = p.id
      FROM provider_configs AS p WHERE correlation_id = 'c7' AND state = 'SUCCEEDED';
    INSERT INTO workers (id, provider_id, provider_type, provider_resource_id, state, spec, handle,
                         last_heartbeat)
    SELECT md5('w' || n)::uuid, p.id, 'test', n,
           CASE WHEN n % 100 = 0 THEN 'READY' ELSE 'TERMINATED' END, '{}', '{}', now()
      FROM generate_series(1, 5000) AS s (n), provider_configs AS p;
    INSERT INTO provider_configs (id, name, provider_type)
    SELECT gen_random_uuid(), 'p' || n, 'test' FROM generate_series(1, 2000) AS s (n);
    INSERT INTO job_schedules (name, cron, spec, next_run_at)
    SELECT 's' || n, '0 0 * * *', '{}', now() + interval '1 day'
      FROM generate_series(1, 5000) AS s (n);
    INSERT INTO audit_logs (id, event_type, payload, occurred_at, actor)
    SELECT gen_random_uuid(), 'JobFailed', '{}', now() - n * interval '1 minute', 'a' || n % 50
      FROM generate_series(1, 10000) AS s (n);
    INSERT INTO job_log_files (job_id, storage_uri, expires_at)
    SELECT id, 'storage://job_logs/' || id, now() FROM jobs WHERE state <> 'PENDING';
    INSERT INTO job_log_garbage (storage_uri) SELECT storage_uri FROM job_log_files;
    INSERT INTO job_log_tails (job_id, tail, total_bytes)
    SELECT id, '', 0 FROM jobs WHERE state <> 'PENDING';
    INSERT INTO worker_bootstrap_tokens (worker_id, expires_at)
    SELECT md5('w' || n)::uuid, now() FROM generate_series(1, 5000) AS s (n)"""


@pytest.fixture(scope="module")
def used(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """The tables, with a history and with jobs in every state, for all tests of this file: they
    look and change nothing."""
    with django_db_blocker.unblock():
        with connections["default"].cursor() as cursor:
            cursor.execute(f"TRUNCATE {TABLES}")
            for state, number in (
                *(("SUCCEEDED", HISTORY), ("PENDING", 2 * EACH), ("RUNNING", EACH)),
                *(("FAILED", EACH), ("TIMEOUT", 100)),
            ):
                cursor.execute(JOBS, [state, state, state, number])
            cursor.execute(REST)
            cursor.execute(f"ANALYZE {TABLES}")
        try:
            yield
        finally:
            with connections["default"].cursor() as cursor:
                cursor.execute(f"TRUNCATE {TABLES}")
            connections["default"].close()


@pytest.fixture(scope="module")
def session(used: None) -> Iterator[psycopg.Connection[Any]]:
    """A connection as a worker has it."""
    with connect("default", "test of plans") as found:
        yield found


@pytest.fixture(autouse=True, params=["none", "all"])
def _told(request: pytest.FixtureRequest, settings: Any) -> None:
    settings.JOBS_EVENTS = request.param
    settings.JOBS_AUDIT = "all" if request.param == "all" else "important"


def held(session: psycopg.Connection[Any], number: int) -> dict[str, Any]:
    rows = session.execute("SELECT job_id, epoch FROM job_leases LIMIT %s", [number]).fetchall()
    return {"ids": [row[0] for row in rows], "epochs": [row[1] for row in rows]}


class TestWorker:
    @pytest.mark.parametrize("number", [1, 500])
    @pytest.mark.parametrize("beyond", [False, True])
    def test_claim(self, session: psycopg.Connection[Any], number: int, beyond: bool) -> None:
        sql = telling.text("claim").replace("/* beyond */", _BEYOND if beyond else "")
        queues = ["q0", "q1", "q2"]
        parameters = {"worker": uuid.uuid4(), "queues": queues, "priorities": [0, 0, 0]}
        rest = {"after": [0, 0, 0], "number": number, "starting": 1, "seconds": 30.0}

        plan = Plan(session, sql, {**parameters, **rest})

        assert plan.indexes_of("job_queue") == {"job_queue_claim_idx", "job_queue_pkey"}
        assert plan.indexes_of("jobs") == {"jobs_pkey"}

    @pytest.mark.parametrize("number", [1, MANY])
    def test_start(self, session: psycopg.Connection[Any], number: int) -> None:
        plan = Plan(session, telling.text("start"), held(session, number))

        assert plan.indexes_of("job_leases") == {"job_leases_pkey"}
        assert plan.indexes_of("jobs") == {"jobs_pkey"}

    @pytest.mark.parametrize("number", [1, MANY])
    def test_finish(self, session: psycopg.Connection[Any], number: int) -> None:
        found = held(session, number)
        names = ("results", "errors", "seconds", "kinds", "classes", "traces", "told")
        many = {
            **found,
            "states": ["FAILED"] * number,
            "spent": [True] * number,
            "cancelled": "Cancelled",
            **{name: [None] * number for name in names},
        }

        plan = Plan(session, telling.text("finish"), many)

        assert plan.indexes_of("job_leases") == {"job_leases_pkey"}
        assert plan.indexes_of("jobs") == {"jobs_pkey"}

    def test_complete(self, session: psycopg.Connection[Any]) -> None:
        (job,), (epoch,) = held(session, 1).values()
        parameters = {"id": job, "epoch": epoch, "result": None}

        plan = Plan(session, telling.text("complete"), parameters)

        assert plan.indexes_of("job_leases") == {"job_leases_pkey"}
        assert plan.indexes_of("jobs") == {"jobs_pkey"}

    @pytest.mark.parametrize("number", [1, MANY])
    def test_renew(self, session: psycopg.Connection[Any], number: int) -> None:
        plan = Plan(session, statement("jobs", "renew"), {**held(session, number), "seconds": 30.0})

        assert plan.indexes_of("job_leases") == {"job_leases_pkey"}

    def test_queues(self, session: psycopg.Connection[Any]) -> None:
        plan = Plan(session, statement("jobs", "queues"), {"most": 1_000})

        assert plan.indexes_of("job_queue") == {"job_queue_claim_idx"}

    def test_heartbeat(self, session: psycopg.Connection[Any]) -> None:
        plan = Plan(session, statement("jobs", "heartbeat"), {"worker": uuid.uuid4()})

        assert plan.indexes_of("workers") == {"workers_pkey"}

    def test_note_current(self, session: psycopg.Connection[Any]) -> None:
        parameters = {"worker": uuid.uuid4(), "job": uuid.uuid4()}

        plan = Plan(session, statement("jobs", "note_current"), parameters)

        assert plan.indexes_of("workers") == {"workers_pkey"}
        assert plan.indexes_of("job_leases") == {"job_leases_pkey"}

    def test_register_local(self, session: psycopg.Connection[Any]) -> None:
        """Each start of a worker asks for the provider, of which there may be many."""
        parameters = {"worker": uuid.uuid4(), "resource": "host-1", "spec": "{}"}

        plan = Plan(session, statement("jobs", "register_local"), parameters)

        assert plan.indexes_of("provider_configs") == {"provider_configs_name_key"}
        assert plan.indexes_of("workers") == set()


class TestRescuer:
    def test_rescue(self, session: psycopg.Connection[Any]) -> None:
        parameters = {"number": 1_000, "most": 5, "apart": 15.0, "message": "gone", "worker": None}

        plan = Plan(session, telling.text("rescue"), parameters)

        assert plan.indexes_of("job_leases") == {"job_leases_expires_idx", "job_leases_pkey"}
        assert plan.indexes_of("jobs") == {"jobs_pkey"}

    def test_rescue_of_one_worker(self, session: psycopg.Connection[Any]) -> None:
        """Somebody ends it, once: there are no more leases than runs, and all may be read."""
        parameters = {"number": 1_000, "most": 5, "apart": 15.0, "message": "gone"}

        plan = Plan(session, telling.text("rescue"), {**parameters, "worker": uuid.uuid4()})

        assert "job_leases_pkey" in plan.indexes_of("job_leases")
        assert plan.indexes_of("jobs") == {"jobs_pkey"}

    def test_promote(self, session: psycopg.Connection[Any]) -> None:
        plan = Plan(session, telling.text("promote"), {"number": 1_000})

        found = plan.indexes_of("job_queue_deferred")
        assert found == {"job_queue_deferred_due_idx", "job_queue_deferred_pkey"}
        assert plan.indexes_of("jobs") == {"jobs_pkey"}

    def test_look(self, session: psycopg.Connection[Any]) -> None:
        plan = Plan(session, statement("jobs", "look"), {"silence": 30.0, "queues": 1_000})

        assert plan.indexes_of("job_queue_deferred") == {"job_queue_deferred_due_idx"}
        assert "job_schedules_due_idx" in plan.indexes_of("job_schedules")
        assert plan.indexes_of("job_leases") == {"job_leases_expires_idx"}
        assert plan.indexes_of("workers") == {"idx_workers_state"}
        assert plan.indexes_of("job_queue") == {"job_queue_claim_idx"}

    def test_lose_workers(self, session: psycopg.Connection[Any]) -> None:
        parameters = {"making": 600.0, "silence": 30.0, "uptime": 30.0, "number": 1_000}

        plan = Plan(session, statement("jobs", "lose_workers"), parameters)

        assert plan.indexes_of("workers") == {"idx_workers_state", "workers_pkey"}


class TestTicker:
    def test_due_schedules(self, session: psycopg.Connection[Any]) -> None:
        plan = Plan(session, statement("jobs", "due_schedules"), {"number": 1, "seen": []})

        assert "job_schedules_due_idx" in plan.indexes_of("job_schedules")


class TestEnqueue:
    def test_a_known_key(self, session: psycopg.Connection[Any]) -> None:
        """By what is read, since a function plans its statements itself: often enough for a plan
        that serves every value."""
        given = {"id": uuid.uuid4(), **specs.check(NewJob(spec={}, idempotency_key="FAILED2"))}
        scans = "SELECT pg_stat_get_xact_numscans(n::regclass) FROM unnest(%s::text[]) AS s (n)"
        tables = [["jobs", "jobs_idempotency_key_key"]]
        with session.transaction(force_rollback=True):
            # What the session did before may not have been handed over yet.
            before = session.execute(scans, tables).fetchall()
            for _ in range(10):
                ((_, is_new, _),) = session.execute(telling.text("enqueue"), given).fetchall()
                assert not is_new
            after = session.execute(scans, tables).fetchall()

        # Each looks for the key twice: whether it is known, and whose it is.
        assert [now - then for (now,), (then,) in zip(after, before, strict=True)] == [0, 20]

    def test_what_was_copied_is_told_by_its_keys(self, session: psycopg.Connection[Any]) -> None:
        ids = held(session, MANY)["ids"]

        plan = Plan(session, telling.text("tell_enqueued"), {"ids": ids})

        assert plan.indexes_of("jobs") == {"jobs_pkey"}

    @pytest.mark.parametrize("staged", [False, True])
    def test_many(self, session: psycopg.Connection[Any], staged: bool) -> None:
        """Out of arrays, and out of a temporary table, of which the planner knows nothing."""
        names = ("name", "timeout", "correlation_id", "trace_parent", "run_after")
        columns = {
            "id": [uuid.uuid4() for _ in range(MANY)],
            "spec": ["{}"] * MANY,
            "queue": ["q0"] * MANY,
            "priority": [0] * MANY,
            "max_attempts": [3] * MANY,
            "idempotency_key": [f"FAILED{2 * n}" for n in range(MANY)],
            "metadata": ["{}"] * MANY,
            "orchestrated": [False] * MANY,
            **{name: [None] * MANY for name in names},
        }
        given = {f"{name}_": values for name, values in columns.items()}
        source = queue.ARRAYS
        if staged:
            session.execute(f"CREATE TEMPORARY TABLE staged AS SELECT * FROM {source}", given)
            source = "staged AS g"
        sql = telling.text("enqueue_many").replace(queue.GIVEN, source)

        plan = Plan(session, sql, {} if staged else given)

        session.execute("DROP TABLE IF EXISTS staged")
        assert plan.indexes_of("jobs") <= {"jobs_idempotency_key_key"}

    def test_to_wake_somebody_reads_no_table(self, session: psycopg.Connection[Any]) -> None:
        """It runs at the end of each bulk, and of each decision."""
        plan = Plan(session, statement("jobs", "wake"), {"queues": ["q0", "q1"], **WAKE})

        assert [node for node in plan.nodes if "Relation Name" in node] == []
        assert plan.indexes_of("job_queue") == set()


class TestLogs:
    """Beside as many notes of files as a large prune leaves behind."""

    @pytest.mark.parametrize("number", [1, MANY])
    def test_reserve(self, session: psycopg.Connection[Any], number: int) -> None:
        ids = held(session, number)["ids"]
        parameters = {"ids": ids, "uris": [f"storage://job_logs/{job}" for job in ids]}

        plan = Plan(session, statement("jobs", "log_reserve"), parameters)

        assert plan.indexes_of("job_log_files") == {"uq_job_log_files_job_id"}

    @pytest.mark.parametrize("number", [1, MANY])
    def test_settle(self, session: psycopg.Connection[Any], number: int) -> None:
        found = held(session, number)
        parameters = {
            **found,
            "uris": [f"storage://job_logs/{job}" for job in found["ids"]],
            "hours": [1.0] * number,
            "notes": list(range(number)),
            **{name: [1] * number for name in ("sizes", "lines")},
        }

        plan = Plan(session, statement("jobs", "log_settle"), parameters)

        assert plan.indexes_of("job_leases") == {"job_leases_pkey"}
        assert plan.indexes_of("job_log_garbage") == {"job_log_garbage_pkey"}
        assert plan.indexes_of("job_log_files") == {"uq_job_log_files_job_id"}
        assert plan.indexes_of("job_log_tails") == {"job_log_tails_pkey"}

    @pytest.mark.parametrize("number", [1, MANY])
    def test_tails(self, session: psycopg.Connection[Any], number: int) -> None:
        parameters = {
            **held(session, number),
            "tails": [b""] * number,
            "totals": [0] * number,
        }

        plan = Plan(session, statement("jobs", "log_tails"), parameters)

        assert plan.indexes_of("job_leases") == {"job_leases_pkey"}
        assert plan.indexes_of("job_log_files") == {"uq_job_log_files_job_id"}


class TestPeople:
    def test_record(self, session: psycopg.Connection[Any]) -> None:
        ids = held(session, MANY)["ids"]
        given = {
            "ids": [uuid.uuid4() for _ in ids],
            "correlation_ids": [None for _ in ids],
            "payloads": ["{}" for _ in ids],
            "abouts": ids,
            "event_type": "JobRetried",
            "actor": "ada",
            "kind": "JOB",
            "destination": "default",
        }

        plan = Plan(session, telling.record_text("JobRetried"), given)

        assert plan.indexes_of("jobs") <= {"jobs_pkey"}

    @pytest.mark.parametrize(
        "wanted",
        [
            RequeueFilter(),
            RequeueFilter(queue="q1"),
            RequeueFilter(name="a"),
            RequeueFilter(since=datetime(2026, 1, 1, tzinfo=UTC)),
            RequeueFilter(kind=FailureKind.IO_ERROR),
        ],
        ids=["all", "queue", "name", "since", "kind"],
    )
    def test_requeue(self, session: psycopg.Connection[Any], wanted: RequeueFilter) -> None:
        condition, parameters = _condition(wanted)
        sql = statement("jobs", "requeue").replace("/* filter */", condition)
        before = datetime(2126, 1, 1, tzinfo=UTC)

        asked = {**parameters, "number": 500, "before": before, "from": "-infinity"}
        plan = Plan(session, sql, asked)

        assert plan.indexes_of("jobs") <= {"jobs_state_created_idx", "jobs_pkey"}
        attempts = {"job_failed_attempts_job_idx"} if wanted.kind else set()
        assert plan.indexes_of("job_failed_attempts") == attempts

    @pytest.mark.parametrize(
        ("action", "state"),
        [
            ("cancel", "PENDING"),
            ("cancel", "RUNNING"),
            ("hold", "PENDING"),
            ("retry", "FAILED"),
            ("delete", "FAILED"),
            ("set_priority", "PENDING"),
        ],
    )
    def test_a_decision_reads_what_belongs_to_its_job(
        self, session: psycopg.Connection[Any], action: str, state: str
    ) -> None:
        """Each of its statements, as it was sent."""
        given: dict[str, Any] = {"reason": "as agreed", "actor": "ada"}
        if action == "set_priority":
            given["priority"] = 7
        row = session.execute("SELECT id FROM jobs WHERE state = %s LIMIT 1", [state]).fetchone()
        assert row is not None
        connection = connections["default"]
        with transaction.atomic(), CaptureQueriesContext(connection) as queries:
            getattr(lifecycle, action)(row[0], **given)
            transaction.set_rollback(True)

        sent = [one["sql"] for one in queries.captured_queries]
        looks = [sql for sql in sent if sql.startswith(("SELECT", "UPDATE", "DELETE", "INSERT"))]
        assert len(looks) >= 4
        for sql in looks:
            plan = Plan(session, sql.replace("%", "%%"), {})
            for table in TABLES.split(", "):
                assert "none" not in plan.indexes_of(table), sql

    def test_a_result(self, session: psycopg.Connection[Any]) -> None:
        plan = Plan(session, statement("jobs", "result"), {"id": held(session, 1)["ids"][0]})

        assert plan.indexes_of("jobs") == {"jobs_pkey"}
        assert plan.indexes_of("job_failed_attempts") == {"job_failed_attempts_job_idx"}

    def test_the_jobs_of_a_provider(self, session: psycopg.Connection[Any]) -> None:
        """As a page lists them, and as the server looks for them when a provider is deleted."""
        provider = session.execute("SELECT id FROM provider_configs WHERE name = 'p'").fetchone()
        assert provider is not None
        sql = "SELECT id FROM jobs WHERE selected_provider_id = %(id)s"

        plan = Plan(session, sql, {"id": provider[0]})

        assert plan.indexes_of("jobs") == {"jobs_provider_idx"}

    def test_the_last_hour(self, session: psycopg.Connection[Any]) -> None:
        plan = Plan(session, statement("jobs", "enqueued_by_minute"), {"most": 200})

        assert plan.indexes_of("jobs") == {"jobs_state_created_idx"}

    def test_what_leaves_a_place_that_others_gave(self, session: psycopg.Connection[Any]) -> None:
        row = session.execute("SELECT job_id FROM job_queue LIMIT 1").fetchone()
        assert row is not None

        plan = Plan(session, statement("jobs", "leave_new_place"), {"job": row[0]})

        assert "none" not in plan.indexes_of("job_queue")
        assert "none" not in plan.indexes_of("job_queue_deferred")

    def test_statistics(self, session: psycopg.Connection[Any]) -> None:
        """It counts up to a limit, and what it counts of the jobs is found by their state."""
        plan = Plan(session, inspection._REST, {"most": 10_000, "queues": 1_000})

        assert plan.indexes_of("jobs") == {"jobs_state_created_idx"}
        queues = Plan(session, inspection._QUEUES, {"most": 10_000, "queues": 1_000})
        assert "job_queue_claim_idx" in queues.indexes_of("job_queue")


class TestRetention:
    @pytest.mark.parametrize(
        ("table", "condition", "indexes"),
        [
            ("jobs", retention._JOBS, {"jobs_state_created_idx", "idx_jobs_created_at"}),
            ("audit", retention._AUDIT, {"idx_audit_occurred_at"}),
            ("tokens", retention._TOKENS, {"bootstrap_tokens_expires_idx"}),
        ],
        ids=["jobs", "audit", "tokens"],
    )
    def test_the_oldest_are_found_by_an_index(
        self, session: psycopg.Connection[Any], table: str, condition: str, indexes: set[str]
    ) -> None:
        found = retention._TABLES[table]
        sql = (
            f"SELECT {found.key} FROM {found.name} WHERE {condition} AND {found.order} >= "
            f"'-infinity'::timestamptz ORDER BY {found.order} LIMIT 1000"
        )
        parameters = {"state": "SUCCEEDED", "before": datetime(2020, 1, 1, tzinfo=UTC)}

        assert Plan(session, sql, parameters).indexes_of(found.name) <= indexes


def test_every_statement_has_a_plan() -> None:
    """Here, or of those that only sagas need, beside the plans of theirs."""
    files = (Path(__file__), ROOT / "tests/sagas/builtin/test_plans.py")
    tested = {name for file in files for name in re.findall(r'"(\w+)"', file.read_text())}
    # Records are made by a text of their own.
    tested.add("record")

    assert {path.stem for path in (ROOT / "jobs/sql").glob("*.sql")} - tested == set()


def test_pitfall_6_no_index_on_what_is_in_a_document(session: psycopg.Connection[Any]) -> None:
    """A GIN index on specs or metadata is paid for by whoever enqueues."""
    rows = session.execute(
        "SELECT indexname FROM pg_indexes WHERE tablename LIKE 'job%%' AND indexdef ~* 'using gin'"
    ).fetchall()

    assert rows == []
