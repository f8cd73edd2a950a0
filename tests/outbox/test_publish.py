from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import OperationalError, connection, connections, transaction

from outbox.events import EventInvalid
from outbox.keys import NAMESPACE
from outbox.services.publish import (
    MANY,
    Draft,
    DuplicateEvent,
    OutsideTransaction,
    publish,
    publish_many,
)
from tests.outbox.conftest import Outbox
from tests.outbox.dead import in_thread
from tests.processes import eventually

JOB = uuid.UUID("11111111-2222-4333-8444-555555555555")


def draft(number: int, aggregate: Any = JOB, **options: Any) -> Draft:
    return Draft(
        event_type="Counted",
        aggregate_type="JOB",
        aggregate_id=aggregate,
        payload={"n": number},
        **options,
    )


def until_blocked(outbox: Outbox, pids: list[int]) -> None:
    """Wait until the session whose number is put into ``pids`` waits for another."""
    assert eventually(
        lambda: (
            bool(pids) and outbox.value("SELECT cardinality(pg_blocking_pids(%s)) > 0", [pids[0]])
        )
    )


class TestPublish:
    def test_defect_3_7_stores_what_it_was_given(self, outbox: Outbox) -> None:
        with transaction.atomic():
            found = publish(
                "JobCreated",
                "JOB",
                JOB,
                {"name": "café", "n": [1, None, True]},
                idempotency_key="once",
                metadata={"correlation_id": "c-1"},
                version=3,
            )

        ((row),) = outbox.rows(
            "SELECT id, event_type, event_version, aggregate_type, aggregate_id, aggregate_key, "
            "payload::text, metadata::text, idempotency_key, destination, status, held "
            "FROM outbox_events"
        )
        assert row == (
            *(found, "JobCreated", 3, "JOB", JOB, None, '{"n": [1, null, true], "name": "café"}'),
            *('{"correlation_id": "c-1"}', "once", "default", "PENDING", False),
        )

    def test_defect_3_7_a_key_need_not_be_a_uuid_and_has_always_the_same_id(
        self, outbox: Outbox
    ) -> None:
        outbox.publish(7, 1)
        outbox.publish("7", 2)
        outbox.publish("order/8", 3)

        assert outbox.rows(
            "SELECT aggregate_key, aggregate_id FROM outbox_events ORDER BY seq"
        ) == [
            ("7", uuid.uuid5(NAMESPACE, "JOB:7")),
            ("7", uuid.uuid5(NAMESPACE, "JOB:7")),
            ("order/8", uuid.uuid5(NAMESPACE, "JOB:order/8")),
        ]

    def test_defect_3_7_vanishes_with_the_callers_transaction(self, outbox: Outbox) -> None:
        with transaction.atomic():
            publish("Counted", "JOB", JOB, {})
            publish_many([draft(1)])
            transaction.set_rollback(True)

        assert outbox.value("SELECT count(*) FROM outbox_events") == 0

    def test_outside_of_a_transaction_it_refuses(self, outbox: Outbox) -> None:
        with pytest.raises(OutsideTransaction, match=r"transaction\.atomic\(\) around both"):
            publish("Counted", "JOB", JOB, {})
        with pytest.raises(OutsideTransaction):
            publish_many([draft(1)])

        publish("Counted", "JOB", JOB, {}, autocommit=True)
        assert outbox.value("SELECT count(*) FROM outbox_events") == 1

    def test_is_one_round_trip(self, outbox: Outbox, django_assert_num_queries: Any) -> None:
        with transaction.atomic():
            with django_assert_num_queries(1):
                publish("Counted", "JOB", JOB, {})
            with django_assert_num_queries(1):
                publish("Counted", "JOB", JOB, {}, aggregate_locked=True)

    def test_defect_b9_another_aggregate_is_a_matter_of_the_setting(
        self, outbox: Outbox, settings: Any
    ) -> None:
        settings.HODEI_OUTBOX = {"AGGREGATE_TYPES": ["PURCHASE ORDER"]}
        with transaction.atomic():
            publish("OrderPlaced", "PURCHASE ORDER", 7, {})

        assert outbox.rows("SELECT aggregate_type FROM outbox_events") == [("PURCHASE ORDER",)]

    def test_routes_by_the_event_type(self, outbox: Outbox, settings: Any) -> None:
        console = {"PUBLISHER": "outbox.publishers.console.ConsolePublisher"}
        settings.HODEI_OUTBOX = {
            "DESTINATIONS": {"default": console, "billing": console},
            "ROUTES": {"Invoice*": "billing"},
        }
        with transaction.atomic():
            publish("InvoicePaid", "JOB", JOB, {})
            publish("JobCreated", "JOB", JOB, {})

        assert outbox.rows("SELECT event_type, destination FROM outbox_events ORDER BY seq") == [
            ("InvoicePaid", "billing"),
            ("JobCreated", "default"),
        ]

    def test_defect_3_7_a_repeated_key_is_told_and_breaks_nothing(self, outbox: Outbox) -> None:
        with transaction.atomic():
            publish("Counted", "JOB", JOB, {"n": 1}, idempotency_key="once")
            with pytest.raises(DuplicateEvent, match="idempotency key 'once'") as caught:
                publish("Counted", "JOB", JOB, {"n": 2}, idempotency_key="once")
            publish("Counted", "JOB", JOB, {"n": 3})

        assert caught.value.idempotency_keys == ("once",)
        assert sorted(outbox.statuses()) == [1, 3]

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            ({"payload": {"x": float("nan")}}, "payload cannot be JSON: it holds nan"),
            ({"payload": [1, {"x": [float("inf")]}]}, "it holds inf"),
            ({"payload": {"x": {1, 2}}}, "Object of type set is not JSON serializable"),
            ({"payload": {"x": "a\0b"}}, "payload holds a NUL character"),
            ({"payload": {"a\0b": 1}}, "payload holds a NUL character"),
            ({"payload": "\ud800"}, "half a surrogate pair"),
            ({"payload": {"x": "y" * 262_144}}, "has 262,152 bytes as JSON; at most 262,144"),
            ({"event_type": ""}, "event_type is ''"),
            ({"event_type": "x" * 51}, "event_type has 51 characters"),
            ({"event_type": 7}, "event_type is 7"),
            ({"event_type": "a\0"}, "event_type holds a NUL"),
            ({"aggregate_type": "ORDER"}, r"HODEI_OUTBOX\['AGGREGATE_TYPES'\] has JOB, PROVIDER"),
            ({"aggregate_id": 1.5}, "aggregate_id is 1.5, a float; it is a UUID, an int or a str"),
            ({"aggregate_id": True}, "aggregate_id is True"),
            ({"aggregate_id": ""}, "aggregate_id has 0 characters"),
            ({"aggregate_id": "x" * 501}, "aggregate_id has 501 characters"),
            ({"aggregate_id": "\0"}, "aggregate_id holds a NUL"),
            ({"idempotency_key": "x" * 101}, "idempotency_key has 101 characters"),
            ({"idempotency_key": ""}, "idempotency_key is ''"),
            ({"version": 0}, "version is 0"),
            ({"version": "1"}, "version is '1'"),
            ({"version": True}, "version is True"),
            ({"version": 2**31}, "version is 2147483648"),
            ({"metadata": [1]}, r"metadata is \[1\]; it is a dict"),
        ],
    )
    def test_what_can_be_no_event_is_refused(
        self, outbox: Outbox, arguments: dict[str, Any], told: str
    ) -> None:
        good: dict[str, Any] = {
            "event_type": "Counted",
            "aggregate_type": "JOB",
            "aggregate_id": JOB,
            "payload": {},
        }
        with transaction.atomic():
            with pytest.raises(EventInvalid, match=told):
                publish(**{**good, **arguments})
            with pytest.raises(EventInvalid, match="Event 1 of this call: "):
                publish_many([draft(1), Draft(**{**good, **arguments})])

        assert outbox.value("SELECT count(*) FROM outbox_events") == 0

    def test_deep_nesting_is_refused(self, outbox: Outbox) -> None:
        deep: Any = []
        for _ in range(101):
            deep = [deep]
        bottomless: Any = []
        for _ in range(100_000):
            bottomless = [bottomless]

        with transaction.atomic():
            with pytest.raises(EventInvalid, match="nested more than 100 levels"):
                publish("Counted", "JOB", JOB, deep)
            with pytest.raises(EventInvalid, match="nested too deeply"):
                publish("Counted", "JOB", JOB, bottomless)
            publish("Counted", "JOB", JOB, ["[" * 200, {"n": 1}])

    def test_a_backslash_before_zeros_is_no_nul(self, outbox: Outbox) -> None:
        with transaction.atomic():
            publish("Counted", "JOB", JOB, {"path": "C:\\u0000"})

        assert outbox.value("SELECT payload ->> 'path' FROM outbox_events") == "C:\\u0000"


class TestPublishMany:
    def test_keeps_the_order_and_returns_the_ids(self, outbox: Outbox) -> None:
        drafts = [draft(number, uuid.UUID(int=number % 7)) for number in range(50)]
        with transaction.atomic():
            ids = publish_many(iter(drafts))

        assert outbox.rows("SELECT id, (payload ->> 'n')::int FROM outbox_events ORDER BY seq") == [
            (id_, number) for number, id_ in enumerate(ids)
        ]

    @pytest.mark.parametrize("keys", ["abcd", "dbca", [None, "b", None, "a"]])
    def test_keeps_the_order_whatever_that_of_the_keys(
        self, outbox: Outbox, keys: Sequence[str | None]
    ) -> None:
        drafts = [draft(number, idempotency_key=key) for number, key in enumerate(keys)]
        with transaction.atomic():
            publish("Counted", "JOB", JOB, {"n": 10})
            ids = publish_many(drafts)
            publish("Counted", "JOB", JOB, {"n": 11})

        rows = outbox.rows("SELECT id, (payload ->> 'n')::int FROM outbox_events ORDER BY seq")
        assert [number for _, number in rows] == [10, 0, 1, 2, 3, 11]
        assert [id_ for id_, _ in rows[1:-1]] == ids

    def test_of_nothing_asks_nothing(self, outbox: Outbox) -> None:
        with transaction.atomic():
            assert publish_many([]) == []

    def test_a_repeated_key_stores_none_of_them(self, outbox: Outbox) -> None:
        outbox.publish(JOB, 1, idempotency_key="a")
        with transaction.atomic():
            with pytest.raises(DuplicateEvent) as caught:
                publish_many([draft(2), draft(3, idempotency_key="a"), draft(4)])
            with pytest.raises(DuplicateEvent, match="'b'"):
                publish_many([draft(5, idempotency_key="b"), draft(6, idempotency_key="b")])

        assert caught.value.idempotency_keys == ("a",)
        assert sorted(outbox.statuses()) == [1]

    def test_keys_that_are_there_are_told_in_the_order_of_the_events(self, outbox: Outbox) -> None:
        outbox.publish(JOB, 1, idempotency_key="x")
        outbox.publish(JOB, 2, idempotency_key="a")
        with transaction.atomic():
            with pytest.raises(DuplicateEvent, match="'a', 'x'") as caught:
                publish_many([draft(n, idempotency_key=key) for n, key in enumerate("barx")])
            publish_many([draft(3, idempotency_key="b")])

        assert caught.value.idempotency_keys == ("a", "x")
        assert sorted(outbox.statuses()) == [1, 2, 3]

    def test_a_key_that_another_is_about_to_commit_is_waited_for(self, outbox: Outbox) -> None:
        pids: list[int] = []
        found: list[BaseException] = []

        def second() -> None:
            try:
                with transaction.atomic():
                    with connection.cursor() as cursor:
                        cursor.execute("SELECT pg_backend_pid()")
                        pids.append(cursor.fetchone()[0])
                    try:
                        publish_many([draft(2, uuid.UUID(int=9), idempotency_key="once")])
                    except DuplicateEvent as error:
                        found.append(error)
                    publish_many([draft(3, uuid.UUID(int=9))])
            finally:
                connections.close_all()

        thread = threading.Thread(target=second)
        with transaction.atomic():
            publish("Counted", "JOB", JOB, {"n": 1}, idempotency_key="once")
            thread.start()
            until_blocked(outbox, pids)
        thread.join(30)

        assert len(found) == 1
        assert sorted(outbox.statuses()) == [1, 3]

    def test_texts_that_mean_something_to_copy_are_kept(self, outbox: Outbox) -> None:
        odd = "tab\t, line\n, \\N, \\., quote \" and ' and %s, café"
        with transaction.atomic():
            publish_many(
                [
                    Draft(
                        event_type="\\N",
                        aggregate_type="JOB",
                        aggregate_id=odd,
                        payload={"text": odd},
                        metadata={"text": odd},
                        idempotency_key=odd,
                    ),
                    draft(2, metadata=None),
                ]
            )

        assert outbox.rows(
            "SELECT event_type, aggregate_key, payload ->> 'text', metadata ->> 'text', "
            "idempotency_key FROM outbox_events ORDER BY seq"
        ) == [("\\N", odd, odd, odd, odd), ("Counted", None, None, None, None)]

    def test_of_many_aggregates_locks_lanes(self, outbox: Outbox) -> None:
        drafts = [draft(number, uuid.UUID(int=number)) for number in range(MANY + 1)]
        with transaction.atomic():
            publish_many(drafts)
            locks = outbox.value(
                "SELECT count(*) FROM pg_locks "
                "WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
            )

        assert locks == 64


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
class TestRepeatableReads:
    @contextmanager
    def beginning_before(self, outbox: Outbox, level: str, *keys: str) -> Iterator[None]:
        """A transaction that does not see what another commits at once: events with these keys."""
        with transaction.atomic():
            outbox.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
            outbox.value("SELECT count(*) FROM outbox_events")

            def other() -> None:
                with transaction.atomic():
                    publish_many([draft(0, idempotency_key=key) for key in keys])

            thread, _ = in_thread(other)
            thread.join(30)
            yield

    def test_events_are_stored_in_the_order_of_commits(self, outbox: Outbox, level: str) -> None:
        with self.beginning_before(outbox, level, "x"):
            publish("Counted", "JOB", JOB, {"n": 1}, idempotency_key="y")
            publish_many([draft(2), draft(3)])

        assert outbox.drain().numbers == [0, 1, 2, 3]

    def test_a_key_that_it_cannot_see_is_a_serialization_failure(
        self, outbox: Outbox, level: str
    ) -> None:
        with (
            pytest.raises(OperationalError, match="could not serialize access"),
            self.beginning_before(outbox, level, "x"),
        ):
            publish("Counted", "JOB", JOB, {"n": 1}, idempotency_key="x")

        assert outbox.statuses() == {0: "PENDING"}

    def test_among_many_it_is_told_and_breaks_nothing(self, outbox: Outbox, level: str) -> None:
        key = "odd)\n(key"
        with self.beginning_before(outbox, level, key):
            with pytest.raises(DuplicateEvent) as caught:
                publish_many([draft(1), draft(2, idempotency_key=key)])
            publish_many([draft(3)])

        assert caught.value.idempotency_keys == (key,)
        assert sorted(outbox.statuses()) == [0, 3]


class TestTurns:
    def test_one_and_many_take_the_same_locks(self, outbox: Outbox) -> None:
        def locks() -> list[tuple[Any, ...]]:
            return outbox.rows(
                "SELECT classid, objid, objsubid, mode FROM pg_locks "
                "WHERE locktype = 'advisory' AND pid = pg_backend_pid() ORDER BY 1, 2"
            )

        with transaction.atomic():
            publish("Counted", "JOB", 7, {})
            of_one = locks()
        with transaction.atomic():
            publish_many([draft(1, 7)])
            of_many = locks()
        with transaction.atomic():
            publish("Counted", "JOB", 7, {}, aggregate_locked=True)
            of_none = locks()

        assert of_one == of_many
        assert len(of_one) == 2
        assert of_none == []


class TestOrder:
    """Two who publish for one aggregate: who commits first has the lower number."""

    @pytest.mark.parametrize("how", ["one", "many", "one and many"])
    def test_defect_b2_numbers_are_in_the_order_of_commits(self, outbox: Outbox, how: str) -> None:
        first_has_published, second_is_waiting = threading.Event(), threading.Event()
        pids: list[int] = []

        def second() -> None:
            try:
                with transaction.atomic():
                    with connection.cursor() as cursor:
                        cursor.execute("SELECT pg_backend_pid()")
                        pids.append(cursor.fetchone()[0])
                    first_has_published.wait(30)
                    second_is_waiting.set()
                    if how == "one":
                        publish("Counted", "JOB", JOB, {"n": 2})
                    else:
                        publish_many([draft(2)])
            finally:
                connections.close_all()

        thread = threading.Thread(target=second)
        thread.start()
        with transaction.atomic():
            if how == "many":
                publish_many([draft(1)])
            else:
                publish("Counted", "JOB", JOB, {"n": 1})
            first_has_published.set()
            second_is_waiting.wait(30)
            until_blocked(outbox, pids)
            # It has stored nothing yet, so its number can only be higher than this one.
            publish("Counted", "JOB", JOB, {"n": 11})
        thread.join(30)

        numbers = outbox.rows("SELECT (payload ->> 'n')::int FROM outbox_events ORDER BY seq")
        assert numbers == [(1,), (11,), (2,)]

    def test_others_of_the_same_lane_do_not_wait(self, outbox: Outbox) -> None:
        neighbour = uuid.UUID("99999999-2222-4333-8444-555555555555")
        done = threading.Event()

        def other() -> None:
            try:
                with transaction.atomic():
                    publish("Counted", "JOB", neighbour, {"n": 2})
                done.set()
            finally:
                connections.close_all()

        with transaction.atomic():
            publish("Counted", "JOB", JOB, {"n": 1})
            thread = threading.Thread(target=other)
            thread.start()
            assert done.wait(30)
        thread.join(30)
