from __future__ import annotations

import threading
import uuid

import pytest
from django.db import connections, transaction
from django.db.transaction import TransactionManagementError

from outbox.services import inbox
from tests.outbox.conftest import Outbox
from tests.processes import eventually

EVENT = uuid.UUID(int=7)


def see(consumer: str = "billing", event_id: uuid.UUID | str = EVENT) -> bool:
    with transaction.atomic(), inbox.once(consumer, event_id) as first:
        return first


class TestOnce:
    def test_only_the_first_time_is_the_first(self, outbox: Outbox) -> None:
        assert [see(), see(), see(event_id=str(EVENT))] == [True, False, False]

    def test_each_consumer_sees_it(self, outbox: Outbox) -> None:
        assert [see("billing"), see("search")] == [True, True]

    def test_an_effect_that_fails_has_not_happened(self, outbox: Outbox) -> None:
        with transaction.atomic():
            with inbox.once("billing", EVENT) as first:
                assert first
            transaction.set_rollback(True)

        assert see()

    def test_outside_of_a_transaction_it_refuses(self, outbox: Outbox) -> None:
        with (
            pytest.raises(TransactionManagementError, match=r"open transaction\.atomic\(\)"),
            inbox.once("billing", EVENT),
        ):
            pass

    @pytest.mark.parametrize(
        ("consumer", "event_id", "told"),
        [
            ("", EVENT, "consumer is ''; it is a text of 1 to 100 characters"),
            ("x" * 101, EVENT, "consumer is "),
            ("billing", "", "event_id is ''"),
            ("billing", "a\0", "event_id holds a NUL character"),
            ("billing", "x" * 256, "1 to 255 characters"),
        ],
    )
    def test_names_that_cannot_be_stored(
        self, outbox: Outbox, consumer: str, event_id: str, told: str
    ) -> None:
        with pytest.raises(ValueError, match=told):
            see(consumer, event_id)

    @pytest.mark.parametrize("commits", [True, False])
    def test_two_at_once_are_one_after_the_other(self, outbox: Outbox, commits: bool) -> None:
        second: list[bool] = []
        pids: list[int] = []

        def other() -> None:
            try:
                with transaction.atomic():
                    with connections["default"].cursor() as cursor:
                        cursor.execute("SELECT pg_backend_pid()")
                        pids.append(cursor.fetchone()[0])
                    with inbox.once("billing", EVENT) as first:
                        second.append(first)
            finally:
                connections.close_all()

        thread = threading.Thread(target=other)
        with transaction.atomic():
            with inbox.once("billing", EVENT) as first:
                assert first
            thread.start()
            assert eventually(
                lambda: (
                    bool(pids)
                    and outbox.value("SELECT cardinality(pg_blocking_pids(%s)) > 0", [pids[0]])
                )
            )
            transaction.set_rollback(not commits)
        thread.join(30)

        assert second == [not commits]


class TestOnceEach:
    def test_a_function_runs_once_for_each_event(self, outbox: Outbox) -> None:
        ran: list[str] = []

        @inbox.once_each("billing")
        def bill(event_id: uuid.UUID, order: str) -> str:
            """Write an invoice."""
            ran.append(order)
            return f"invoice of {order}"

        assert bill(EVENT, "a") == "invoice of a"
        assert bill(EVENT, "a") is None
        assert bill(uuid.UUID(int=8), order="b") == "invoice of b"
        assert ran == ["a", "b"]
        assert (bill.__name__, bill.__doc__) == ("bill", "Write an invoice.")

    def test_one_that_raises_runs_again(self, outbox: Outbox) -> None:
        outcomes = iter([ZeroDivisionError, None])

        @inbox.once_each("billing")
        def bill(event_id: uuid.UUID) -> str:
            failure = next(outcomes)
            if failure:
                raise failure
            return "done"

        with pytest.raises(ZeroDivisionError):
            bill(EVENT)
        assert bill(EVENT) == "done"
