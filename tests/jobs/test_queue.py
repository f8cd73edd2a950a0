"""Enqueue one and many: whose transaction, what is stored, what is refused, two at once."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given
from hypothesis import settings as tuned
from hypothesis import strategies as st

from jobs.services.queue import COPY_FROM, Counts, enqueue, enqueue_many
from jobs.spec import LARGEST_METADATA, LARGEST_SPEC, JobInvalid, NewJob, check
from tests.jobs.conftest import Jobs

SPEC = {"test": {"do": "succeed"}}
LATER = datetime(2100, 1, 1, tzinfo=UTC)


def new(n: int = 0, **options: Any) -> NewJob:
    return NewJob(**{"spec": {"test": {"do": "succeed", "n": n}}, **options})


@pytest.mark.django_db
class TestOne:
    def test_takes_one_statement(self, jobs: Jobs) -> None:
        """Also where the key is known."""
        for is_new in (True, False):
            with CaptureQueriesContext(connection) as queries:
                assert enqueue(spec=SPEC, idempotency_key="a").is_new is is_new

            assert len(queries) == 1

    def test_stores_what_was_said(self, jobs: Jobs) -> None:
        job = enqueue(
            spec=SPEC,
            name="one",
            queue="mail",
            priority=-7,
            run_after=LATER,
            timeout=timedelta(seconds=1.5),
            max_attempts=9,
            correlation_id="c",
            idempotency_key="k",
            trace_parent=f"00-{'a' * 32}-{'b' * 16}-01",
            metadata={"who": "me"},
        )

        (row,) = jobs.rows(
            "SELECT state, name, queue, priority, run_after, timeout, max_attempts, attempts, "
            "correlation_id, idempotency_key, trace_parent, metadata->>'who' FROM jobs "
            "WHERE id = %s",
            [job.id],
        )
        assert job.is_new
        assert row == (
            *("PENDING", "one", "mail", -7, LATER, timedelta(seconds=1.5), 9, 0),
            *("c", "k", f"00-{'a' * 32}-{'b' * 16}-01", "me"),
        )

    @pytest.mark.parametrize(
        ("options", "place"),
        [
            ({}, ["job_queue"]),
            ({"run_after": datetime(2001, 1, 1, tzinfo=UTC)}, ["job_queue"]),
            ({"run_after": LATER}, ["job_queue_deferred"]),
            ({"orchestrated": True}, []),
        ],
    )
    def test_has_its_place(self, jobs: Jobs, options: dict[str, Any], place: list[str]) -> None:
        stored: list[uuid.UUID] = []
        enqueue_many([new(**options)], on_batch=stored.extend)

        assert [jobs.place(job) for job in (enqueue(spec=SPEC, **options).id, *stored)] == [
            place,
            place,
        ]

    def test_a_known_key_is_the_first_job(self, jobs: Jobs) -> None:
        first = enqueue(spec=SPEC, idempotency_key="k", name="first")

        second = enqueue(spec=SPEC, idempotency_key="k", name="second")

        assert second == dataclasses.replace(first, is_new=False)
        assert jobs.rows("SELECT name FROM jobs") == [("first",)]
        assert jobs.value("SELECT count(*) FROM job_queue") == 1

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"name": "one"},
            {"name": "%(queue)s's \\ %"},
            {"queue": "mail"},
            {"priority": 100},
            {"priority": -100},
            {"run_after": LATER},
            {"timeout": timedelta(seconds=1.5)},
            {"max_attempts": 1},
            {"correlation_id": "c"},
            {"idempotency_key": "k"},
            {"trace_parent": f"00-{'a' * 32}-{'b' * 16}-01"},
            {"metadata": {}},
            {"metadata": {"who": "me, 100 %", "%(name)s": "'"}},
            {"orchestrated": True},
        ],
        ids=str,
    )
    @pytest.mark.parametrize("told", ["none", "all"])
    def test_one_is_stored_like_one_of_many(
        self, jobs: Jobs, settings: Any, options: dict[str, Any], told: str
    ) -> None:
        settings.JOBS_EVENTS = told

        def stored() -> tuple[Any, ...]:
            own = "ARRAY['id', 'job_id', 'seq', 'lane', 'aggregate_id', 'created_at']"
            found = tuple(
                jobs.rows(f"SELECT to_jsonb(t) - {own} FROM {table} AS t")
                for table in ("jobs", "job_queue", "job_queue_deferred")
            )
            events = jobs.rows(
                "SELECT event_type, payload - 'job_id', metadata, destination FROM outbox_events"
            )
            return (*found, events)

        with transaction.atomic():
            one = enqueue(**{"spec": SPEC, **options})
            of_one = stored()
            assert jobs.rows("SELECT id, created_at FROM jobs") == [(one.id, one.enqueued_at)]
            transaction.set_rollback(True)
        enqueue_many([NewJob(**{"spec": SPEC, **options})])

        assert of_one == stored()
        assert [len(rows) for rows in of_one] == [
            *(1, int(not {"run_after", "orchestrated"} & options.keys())),
            *(int("run_after" in options), int(told == "all")),
        ]

    def test_is_gone_with_the_callers_transaction(self, jobs: Jobs) -> None:
        with transaction.atomic():
            enqueue(spec=SPEC)
            enqueue_many([new(), new()])
            transaction.set_rollback(True)

        assert jobs.value("SELECT count(*) FROM jobs") == 0
        assert jobs.value("SELECT count(*) FROM job_queue") == 0

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"spec": {}}, "spec"),
            ({"spec": {"nobody": {}}}, "nobody"),
            (
                {"spec": {"command": {"type": "shell", "cmd": "ls"}}},
                "add 'command': 'jobs.executors.command.CommandExecutor' there",
            ),
            ({"spec": {"test": {}}}, "says what to do"),
            ({"spec": []}, "spec is []; it is a dict"),
            ({"spec": {"test": float("nan")}}, "spec cannot be JSON"),
            ({"spec": {"test": {"do": "a\0"}}}, "NUL character"),
            ({"spec": {"test": {"do": "\ud800"}}}, "half a surrogate pair"),
            ({"spec": {"test": {"do": "x" * LARGEST_SPEC}}}, "at most 1,048,576 are allowed"),
            ({"metadata": {"a": "x" * LARGEST_METADATA}}, "at most 262,144 are allowed"),
            ({"queue": ""}, "queue is ''; it is a text of 1 to 64 characters"),
            ({"queue": "q" * 65}, "1 to 64 characters"),
            ({"name": "n" * 256}, "0 to 255 characters"),
            ({"name": "\0"}, "name holds a NUL character"),
            ({"priority": 101}, "priority is 101; it is a whole number from -100 to 100"),
            ({"priority": True}, "priority is True"),
            ({"max_attempts": 0}, "max_attempts is 0; it is a whole number from 1 to 1000"),
            ({"timeout": timedelta(0)}, "timeout"),
            ({"timeout": timedelta(days=31)}, "timeout"),
            ({"timeout": 3}, "timeout"),
            ({"run_after": datetime(2026, 1, 1)}, "it is a datetime with a time zone"),  # noqa: DTZ001
            ({"run_after": datetime(9999, 1, 1, tzinfo=UTC)}, "between the years 1970 and 9000"),
            ({"correlation_id": ""}, "correlation_id is ''"),
            ({"idempotency_key": "k" * 256}, "idempotency_key"),
            ({"trace_parent": "00-zz"}, "trace_parent"),
        ],
    )
    def test_what_can_be_no_job_is_refused_and_nothing_is_stored(
        self, jobs: Jobs, options: dict[str, Any], words: str
    ) -> None:
        with pytest.raises(JobInvalid) as caught:
            enqueue(**{"spec": SPEC, **options})
        assert words in str(caught.value)

        with pytest.raises(JobInvalid) as caught:
            enqueue_many([new(), new(**options)])
        assert str(caught.value).startswith("Job 1 of this call: ")
        assert jobs.value("SELECT count(*) FROM jobs") == 0

    @tuned(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(
        name=st.text(max_size=300),
        queue=st.text(max_size=70),
        key=st.none() | st.text(max_size=260),
        value=st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
            ),
            max_leaves=8,
        ),
    )
    def test_whatever_passes_the_check_can_be_stored(
        self, jobs: Jobs, name: str, queue: str, key: str | None, value: Any
    ) -> None:
        given_job = new(name=name, queue=queue, idempotency_key=key, metadata={"value": value})
        try:
            check(given_job)
        except JobInvalid:
            with pytest.raises(JobInvalid):
                enqueue_many([given_job])
            return
        with transaction.atomic():
            enqueue_many([given_job])
            stored = jobs.rows("SELECT name, queue, idempotency_key FROM jobs")
            transaction.set_rollback(True)
        assert stored == [(name, queue, key)]


@pytest.mark.django_db
class TestMany:
    @pytest.mark.parametrize("number", [3, COPY_FROM + 1])
    @pytest.mark.parametrize("keyed", [False, True])
    def test_keeps_the_order_and_the_places(self, jobs: Jobs, number: int, keyed: bool) -> None:
        def given_jobs() -> Iterator[NewJob]:
            for n in range(number):
                later = LATER if n == 1 else None
                yield new(n, run_after=later, idempotency_key=f"key {n}" if keyed else None)

        ids: list[uuid.UUID] = []
        counts = enqueue_many(given_jobs(), on_batch=ids.extend)

        assert (counts.enqueued, counts.known) == (number, 0)
        ordered = jobs.rows(
            "SELECT j.id, (j.spec->'test'->>'n')::int FROM job_queue AS q JOIN jobs AS j "
            "ON j.id = q.job_id ORDER BY q.id"
        )
        assert [n for _, n in ordered] == [n for n in range(number) if n != 1]
        assert {job for job, _ in ordered} == {*ids} - {ids[1]}
        assert jobs.place(ids[1]) == ["job_queue_deferred"]

    @pytest.mark.parametrize("number", [3, COPY_FROM + 1])
    def test_what_is_due_already_stands_in_its_place(self, jobs: Jobs, number: int) -> None:
        """As with one at a time: it does not wait until somebody looks for what is due."""
        long_ago = datetime(2001, 1, 1, tzinfo=UTC)

        enqueue_many(new(n, run_after=long_ago if n % 2 else None) for n in range(number))

        ordered = jobs.rows(
            "SELECT (j.spec->'test'->>'n')::int FROM job_queue AS q JOIN jobs AS j "
            "ON j.id = q.job_id ORDER BY q.id"
        )
        assert [n for (n,) in ordered] == list(range(number))

    def test_of_one_key_the_first_is_stored_wherever_the_others_are(
        self, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In the same statement, in a later one, and behind thousands that were copied."""
        monkeypatch.setattr("jobs.services.queue.CHUNK", 4)
        monkeypatch.setattr("jobs.services.queue.COPY_FROM", 4)
        keys = ["b", "a", "b", None, "a", None, None, "b", None, None, None, None, "a", "c"]
        ids: list[uuid.UUID] = []

        counts = enqueue_many(
            (new(n, idempotency_key=key) for n, key in enumerate(keys)), on_batch=ids.extend
        )

        first = [n for n, key in enumerate(keys) if key is None or keys.index(key) == n]
        assert (counts.enqueued, counts.known) == (len(first), len(keys) - len(first))
        ordered = jobs.rows(
            "SELECT (j.spec->'test'->>'n')::int, j.id FROM job_queue AS q JOIN jobs AS j "
            "ON j.id = q.job_id ORDER BY q.id"
        )
        assert ordered == list(zip(first, ids, strict=True))

    def test_a_second_call_with_the_same_keys_changes_nothing(self, jobs: Jobs) -> None:
        def given_jobs(name: str, number: int) -> Iterator[NewJob]:
            return (new(n, name=name, idempotency_key=f"key {n}") for n in range(number))

        enqueue_many(given_jobs("first", 3))
        before = jobs.rows("SELECT to_jsonb(j)::text FROM jobs AS j ORDER BY id")
        ids: list[uuid.UUID] = []

        counts = enqueue_many(given_jobs("second", 5), on_batch=ids.extend)

        assert (counts.enqueued, counts.known, len(ids)) == (2, 3, 2)
        rows = jobs.rows("SELECT to_jsonb(j)::text FROM jobs AS j WHERE name = 'first' ORDER BY id")
        assert rows == before
        assert jobs.value("SELECT count(*) FROM job_queue") == 5

    def test_known_keys_are_counted_also_within_the_call(self, jobs: Jobs) -> None:
        enqueue(spec=SPEC, idempotency_key="there")

        counts = enqueue_many(
            [
                new(idempotency_key="there"),
                new(idempotency_key="a"),
                new(idempotency_key="a"),
                new(),
            ]
        )

        assert (counts.enqueued, counts.known) == (2, 2)

    @pytest.mark.parametrize("keyed", [False, True])
    def test_nothing_is_stored_when_the_iterable_raises(self, jobs: Jobs, keyed: bool) -> None:
        def broken() -> Iterator[NewJob]:
            for n in range(COPY_FROM * 3):
                yield new(n, idempotency_key=f"key {n}" if keyed else None)
            raise OSError("the file ended too soon")

        with pytest.raises(OSError, match="too soon"):
            enqueue_many(broken())

        assert jobs.value("SELECT count(*) FROM jobs") == 0

    @pytest.mark.parametrize("keyed", [False, True])
    def test_takes_a_few_statements_however_many_there_are(self, jobs: Jobs, keyed: bool) -> None:
        def statements(number: int) -> int:
            key = uuid.uuid4()
            with CaptureQueriesContext(connection) as queries:
                enqueue_many(
                    new(n, idempotency_key=f"{key} {n}" if keyed else None) for n in range(number)
                )
            return len([one for one in queries if "SAVEPOINT" not in one["sql"]])

        assert statements(2) == 2
        # With keys: may there be a table, it is made, filled, taken from, emptied and dropped.
        assert statements(COPY_FROM) == statements(2 * COPY_FROM) == (7 if keyed else 3)
        left = "SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()"
        assert jobs.value(left) == 0

    @pytest.mark.parametrize("keyed", [False, True])
    def test_an_iterable_may_ask_the_database_meanwhile(self, jobs: Jobs, keyed: bool) -> None:
        """It is pulled between statements, and never while a COPY is open."""
        with connection.cursor() as cursor:

            def rows_of_another_table() -> Iterator[NewJob]:
                for n in range(COPY_FROM + 1):
                    cursor.execute("SELECT count(*) FROM workers")
                    yield new(cursor.fetchone()[0] + n, idempotency_key=str(n) if keyed else None)

            assert enqueue_many(rows_of_another_table()).enqueued == COPY_FROM + 1

    def test_a_call_within_another_is_one_of_its_own(self, jobs: Jobs) -> None:
        def given_jobs(call: str) -> Iterator[NewJob]:
            return (new(n, idempotency_key=f"{call} {n}") for n in range(COPY_FROM))

        inner: list[Counts] = []
        outer = enqueue_many(
            given_jobs("outer"), on_batch=lambda _: inner.append(enqueue_many(given_jobs("inner")))
        )

        assert [outer, *inner] == [Counts(enqueued=COPY_FROM, known=0)] * 2
        assert enqueue_many(given_jobs("inner")) == Counts(enqueued=0, known=COPY_FROM)

    def test_a_role_that_may_make_no_temporary_table_stores_them_too(self, jobs: Jobs) -> None:
        jobs.execute("CREATE ROLE hodei_test_plain")
        jobs.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO hodei_test_plain")
        jobs.execute("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO hodei_test_plain")
        name = connection.ops.quote_name(connection.settings_dict["NAME"])
        jobs.execute(f"REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC")
        jobs.execute("SET LOCAL ROLE hodei_test_plain")

        counts = enqueue_many(new(n, idempotency_key=f"{n}") for n in range(COPY_FROM))

        assert counts == Counts(enqueued=COPY_FROM, known=0)
        jobs.execute("RESET ROLE")

    def test_of_none_does_nothing(self, jobs: Jobs) -> None:
        assert enqueue_many([]).enqueued == 0
