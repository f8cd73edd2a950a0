"""Enqueue one and many: whose transaction, what is stored, what is refused, two at once."""

from __future__ import annotations

import threading
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

from hodei.sessions import connect
from jobs.services.queue import COPY_FROM, Enqueued, enqueue, enqueue_many
from jobs.spec import LARGEST_METADATA, LARGEST_SPEC, JobInvalid, NewJob, check
from tests.jobs.conftest import Jobs

SPEC = {"test": {"do": "succeed"}}
LATER = datetime(2100, 1, 1, tzinfo=UTC)


def new(n: int = 0, **options: Any) -> NewJob:
    return NewJob(**{"spec": {"test": {"do": "succeed", "n": n}}, **options})


@pytest.mark.django_db
class TestOne:
    def test_takes_one_statement(self, jobs: Jobs) -> None:
        with CaptureQueriesContext(connection) as queries:
            enqueue(spec=SPEC, idempotency_key="a")

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

        assert second == Enqueued(id=first.id, is_new=False)
        assert jobs.rows("SELECT name FROM jobs") == [("first",)]
        assert jobs.value("SELECT count(*) FROM job_queue") == 1

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

    def test_nothing_is_stored_when_the_iterable_raises(self, jobs: Jobs) -> None:
        def broken() -> Iterator[NewJob]:
            for n in range(COPY_FROM * 3):
                yield new(n)
            raise OSError("the file ended too soon")

        with pytest.raises(OSError, match="too soon"):
            enqueue_many(broken())

        assert jobs.value("SELECT count(*) FROM jobs") == 0

    def test_takes_a_few_statements_however_many_there_are(self, jobs: Jobs) -> None:
        with CaptureQueriesContext(connection) as few:
            enqueue_many(new(n) for n in range(2))
        with CaptureQueriesContext(connection) as many:
            enqueue_many(new(n, idempotency_key=str(n)) for n in range(3_000))

        assert len(few) == len(many)

    def test_of_none_does_nothing(self, jobs: Jobs) -> None:
        assert enqueue_many([]).enqueued == 0


class TestTwoAtOnce:
    def test_of_two_with_one_key_one_is_stored_and_both_get_it(self, jobs: Jobs) -> None:
        """The second waits for the first one's transaction, and then sees what it has stored."""
        found: list[Enqueued] = []

        def second() -> None:
            try:
                found.append(enqueue(spec=SPEC, idempotency_key="k"))
            finally:
                connection.close()

        thread = threading.Thread(target=second)
        with transaction.atomic():
            first = enqueue(spec=SPEC, idempotency_key="k")
            thread.start()
            with connect("default", "looks") as session:
                while not session.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                    "AND wait_event_type = 'Lock'"
                ).fetchone()[0]:  # type: ignore[index]
                    assert thread.is_alive()
        thread.join(30)

        assert found == [Enqueued(id=first.id, is_new=False)]
        assert jobs.value("SELECT count(*) FROM job_queue") == 1

    def test_the_second_is_stored_where_the_first_is_rolled_back(self, jobs: Jobs) -> None:
        with transaction.atomic():
            enqueue(spec=SPEC, idempotency_key="k")
            transaction.set_rollback(True)

        assert enqueue(spec=SPEC, idempotency_key="k").is_new
