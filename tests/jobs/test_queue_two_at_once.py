"""Two who enqueue the same idempotency keys at once: who waits, what is stored, what both get."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction

from hodei.sessions import connect
from jobs.services.queue import Counts, Enqueued, enqueue, enqueue_many
from jobs.spec import JobInvalid, NewJob
from tests.jobs.conftest import Jobs
from tests.processes import eventually

SPEC = {"test": {"do": "succeed"}}


def new(n: int = 0, **options: Any) -> NewJob:
    return NewJob(**{"spec": {"test": {"do": "succeed", "n": n}}, **options})


def wait_for_locks(number: int) -> None:
    """Until so many sessions wait for a lock."""
    count = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND wait_event_type = 'Lock'"
    )
    with connect("default", "looks") as session:
        assert eventually(lambda: session.execute(count).fetchone() == (number,))


class TestMany:
    @pytest.mark.parametrize("is_stored", [True, False])
    def test_many_wait_for_a_key_that_another_transaction_has_taken(
        self, jobs: Jobs, is_stored: bool
    ) -> None:
        found: list[Counts] = []

        def many() -> None:
            try:
                found.append(enqueue_many(new(n, idempotency_key=f"key {n}") for n in range(5)))
            finally:
                connection.close()

        thread = threading.Thread(target=many)
        with transaction.atomic():
            enqueue(spec=SPEC, idempotency_key="key 3")
            thread.start()
            wait_for_locks(1)
            transaction.set_rollback(not is_stored)
        thread.join(30)

        assert found == [Counts(enqueued=4 if is_stored else 5, known=int(is_stored))]
        assert jobs.value("SELECT count(*) FROM job_queue") == 5

    def test_of_two_with_the_same_keys_in_another_order_one_waits_for_the_other(
        self, jobs: Jobs
    ) -> None:
        """They do not wait crosswise, which would end one of them."""
        found: list[Counts] = []

        def many(numbers: range) -> None:
            try:
                found.append(enqueue_many(new(n, idempotency_key=f"key {n}") for n in numbers))
            finally:
                connection.close()

        threads = [
            threading.Thread(target=many, args=(numbers,))
            for numbers in (range(9), range(8, -1, -1))
        ]
        with transaction.atomic():
            # Both come up to this one, or one of them does and the other waits for it.
            enqueue(spec=SPEC, idempotency_key="key 4")
            for thread in threads:
                thread.start()
            wait_for_locks(2)
            transaction.set_rollback(True)
        for thread in threads:
            thread.join(30)

        assert sorted((one.enqueued, one.known) for one in found) == [(0, 9), (9, 0)]
        assert jobs.value("SELECT count(*) FROM job_queue") == 9


class TestOne:
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
            wait_for_locks(1)
        thread.join(30)

        assert found == [dataclasses.replace(first, is_new=False)]
        assert jobs.value("SELECT count(*) FROM job_queue") == 1

    @pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
    def test_a_key_that_a_transaction_cannot_see_is_a_serialization_failure(
        self, jobs: Jobs, level: str
    ) -> None:
        def other() -> None:
            try:
                enqueue(spec=SPEC, idempotency_key="k", name="other")
            finally:
                connection.close()

        thread = threading.Thread(target=other)
        with transaction.atomic():
            jobs.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
            assert jobs.value("SELECT count(*) FROM jobs") == 0
            thread.start()
            thread.join(30)
            with pytest.raises(OperationalError, match="could not serialize access"):
                enqueue(spec=SPEC, idempotency_key="k")
            transaction.set_rollback(True)

        assert jobs.rows("SELECT name FROM jobs") == [("other",)]

    def test_the_second_is_stored_where_the_first_is_rolled_back(self, jobs: Jobs) -> None:
        with transaction.atomic():
            enqueue(spec=SPEC, idempotency_key="k")
            transaction.set_rollback(True)

        assert enqueue(spec=SPEC, idempotency_key="k").is_new

    @pytest.mark.django_db
    def test_a_key_whose_job_goes_at_that_moment_is_refused(self, jobs: Jobs) -> None:
        """The trigger does what another transaction may do between the two looks for the key."""
        enqueue(spec=SPEC, idempotency_key="k")
        jobs.execute(
            "CREATE FUNCTION hodei_test_delete() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN DELETE FROM jobs; RETURN NULL; END'"
        )
        jobs.execute(
            "CREATE TRIGGER hodei_test_delete AFTER INSERT ON jobs "
            "FOR EACH STATEMENT EXECUTE FUNCTION hodei_test_delete()"
        )

        with pytest.raises(JobInvalid, match="idempotency_key is 'k', and the job that had it was"):
            enqueue(spec=SPEC, idempotency_key="k")
