from __future__ import annotations

import pytest
from django.db import connection, transaction
from django.test import TestCase

from outbox.outcomes import permanent, rejected
from outbox.services.publish import publish
from outbox.testing import assert_published, run_relay
from tests.outbox.recorder import Recorder

pytestmark = pytest.mark.django_db


def orders(*numbers: int) -> None:
    with transaction.atomic():
        for number in numbers:
            publish("JobCreated", "JOB", number, {"n": number, "name": f"job {number}"})


class TestAssertPublished:
    def test_finds_what_fits(self) -> None:
        orders(7, 8)

        (found,) = assert_published("JobCreated", aggregate_id=7, payload={"name": "job 7"})

        assert (found["aggregate_id"], found["payload"]) == ("7", {"n": 7, "name": "job 7"})
        assert_published("JobCreated", aggregate_type="JOB", times=2)
        assert_published("JobDeleted", times=0)

    def test_tells_what_there_is(self) -> None:
        with pytest.raises(AssertionError, match=r"Stored are: none at all$"):
            assert_published("JobCreated")
        orders(7)
        with pytest.raises(AssertionError) as caught:
            assert_published("JobCreated", aggregate_id=8)
        assert str(caught.value) == (
            "0 such JobCreated events are stored and 1 were expected. Stored are:\n"
            '  JobCreated of JOB 7: {"n": 7, "name": "job 7"}'
        )

    def test_nothing_is_something_and_a_list_has_no_keys(self) -> None:
        orders(7)
        with transaction.atomic():
            publish("JobsListed", "JOB", 7, [1, 2])

        with pytest.raises(AssertionError, match="0 such JobCreated"):
            assert_published("JobCreated", payload={"absent": None})
        with pytest.raises(AssertionError, match="0 such JobsListed"):
            assert_published("JobsListed", payload={"n": 1})
        assert_published("JobsListed")


class TestRunRelay:
    def test_delivers_inside_the_transaction_of_the_test(self) -> None:
        orders(1, 2, 1)

        assert sorted(event.payload["n"] for event in run_relay()) == [1, 1, 2]
        assert run_relay() == []

    def test_does_what_the_relay_does(self) -> None:
        orders(1, 1, 2, 3, 3)
        answers = {1: rejected("x", "y"), 3: permanent("x", "y")}
        recorder = Recorder(lambda event: answers.get(event.payload["n"], Recorder().judge(event)))

        delivered = run_relay(recorder)

        assert [event.payload["n"] for event in delivered] == [2]
        assert (recorder.opened, recorder.closed) == (1, 1)
        with connection.cursor() as cursor:
            cursor.execute("SELECT state FROM outbox_keys ORDER BY state")
            assert cursor.fetchall() == [("BACKOFF",), ("PARKED",)]
            cursor.execute("SELECT count(*) FROM outbox_events WHERE held")
            assert cursor.fetchone() == (3,)


class OrderTests(TestCase):
    """As somebody writes them who uses Django's own runner: both tests find the outbox empty, and
    what setUpTestData has published."""

    @classmethod
    def setUpTestData(cls) -> None:
        orders(1)

    def test_is_announced_and_delivered(self) -> None:
        orders(7)
        assert_published("JobCreated", aggregate_id=7, payload={"n": 7})
        self.assertEqual([event.payload["n"] for event in run_relay()], [1, 7])  # noqa: PT009

    def test_waits_for_its_retry(self) -> None:
        run_relay(Recorder(lambda event: rejected("busy", "later")))
        assert_published("JobCreated", times=1)
        with self.assertNumQueries(7):
            assert run_relay() == []


def test_a_destination_that_there_is_not_is_said() -> None:
    with pytest.raises(ValueError, match="destination is 'elsewhere'; HODEI_OUTBOX has default"):
        run_relay(destination="elsewhere")
