"""Pages cost the same with one row and with many, and every list and search has its index."""

from __future__ import annotations

import copy
import re
import uuid
from typing import Any

import pytest
from django.core.exceptions import EmptyResultSet
from django.db import connection, models
from django.test import Client
from django.test.utils import CaptureQueriesContext

from hodei.admin import listing
from hodei.sample import SampleReport
from tests.admin.pages import admins, list_of, page_of

pytestmark = pytest.mark.django_db

ADMINS = admins()
OURS = [one.model for one in ADMINS]


def ids(value: Any) -> str:
    return str(getattr(value, "_meta", value))


def queries(page: Client, address: str) -> int:
    page.get(address)  # what Django reads once per process, it has read after this
    with CaptureQueriesContext(connection) as captured:
        answer = page.get(address)
    assert answer.status_code == 200
    return len(captured)


def multiply(model: type[models.Model], number: int) -> models.Model:
    """Make copies of one row, with ids of their own where a constraint asks for it."""
    original = model.objects.first()
    assert original is not None
    unique = {f.attname for f in model._meta.concrete_fields if f.unique}
    unique |= {
        model._meta.get_field(name).attname
        for constraint in model._meta.constraints
        if isinstance(constraint, models.UniqueConstraint)
        for name in constraint.fields[-1:]
    }
    rows = []
    for count in range(number):
        row = copy.copy(original)
        row._state = copy.copy(original._state)
        row._state.fields_cache = {}
        for name in unique:
            field = next(f for f in model._meta.concrete_fields if f.attname == name)
            setattr(row, name, fresh(field, count))
        row._state.adding = True
        rows.append(row)
    model.objects.bulk_create(rows)
    return rows[0]


def fresh(field: models.Field[Any, Any], count: int) -> Any:
    """A value that no other row has."""
    if field.null or isinstance(field, models.BigAutoField):
        return None
    if isinstance(field, models.ForeignKey):
        return parent(field.related_model)
    if isinstance(field, models.UUIDField):
        return uuid.uuid4()
    if isinstance(field, models.IntegerField):
        return 60 - count if field.name == "lane" else 1_000 + count
    return uuid.uuid4().hex[:16]


def parent(model: type[models.Model]) -> Any:
    row = copy.copy(model.objects.first())
    row.pk = uuid.uuid4()
    row.name = "parent"
    row.idempotency_key = None
    row._state = copy.copy(row._state)
    row._state.adding = True
    row.save(force_insert=True)
    return row.pk


@pytest.fixture
def every_table(sample: SampleReport) -> None:
    """The sample, and a row of the tables that it leaves empty."""
    from datetime import UTC, datetime

    from jobs.models import FailedAttempt, Job, LogFile, LogGarbage, LogTail, Schedule
    from outbox.models import Lane, Relay

    Lane.objects.create(destination="default", lane=63, owner="relay-1", fence=3)
    Relay.objects.create(destination="default", owner="relay-1")
    FailedAttempt.objects.create(job=Job.objects.first(), attempt=1, kind="Unknown", message="no")
    LogTail.objects.create(job=Job.objects.first(), tail=b"\xffend\n", total_bytes=5)
    LogGarbage.objects.create(storage_uri="file:///logs/2.log")
    Schedule.objects.create(name="nightly", cron="30 2 * * *", spec={"python": {"task": "a.b"}})
    LogFile.objects.create(
        job=Job.objects.first(),
        storage_uri="file:///logs/1.log",
        expires_at=datetime(2027, 1, 1, tzinfo=UTC),
    )


@pytest.mark.parametrize("model", OURS, ids=ids)
@pytest.mark.usefixtures("every_table")
class TestQueriesPerPage:
    def test_list(self, page: Client, model: type[models.Model]) -> None:
        first = model.objects.first()
        assert first is not None
        few = queries(page, list_of(model))
        multiply(model, 30)

        many = queries(page, list_of(model))

        assert many == few
        assert few <= 9

    def test_page(self, page: Client, model: type[models.Model]) -> None:
        first = model.objects.first()
        assert first is not None
        few = queries(page, page_of(first))
        multiply(model, 30)

        many = queries(page, page_of(first))

        assert many == few
        assert few <= 12


def explained(rows: models.QuerySet[Any]) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_sort = off")
    return rows.explain()


class Request:
    """As much of a request as a list needs."""

    def __init__(self, user: Any, query: dict[str, str]) -> None:
        from django.test import RequestFactory

        self.made = RequestFactory().get("/", query)
        self.made.user = user


@pytest.mark.parametrize("model_admin", ADMINS, ids=lambda one: one.opts.label)
class TestIndexes:
    def test_list_comes_in_the_order_of_an_index(self, model_admin: Any, admin_user: Any) -> None:
        request = Request(admin_user, {}).made
        rows = model_admin.get_changelist_instance(request).queryset

        plan = explained(rows[:50])

        assert "Seq Scan on " + model_admin.opts.db_table not in plan
        # An incremental sort only breaks ties of what an index has put in order.
        assert "Sort Key" not in plan or "Presorted Key" in plan, plan

    @pytest.mark.parametrize("term", [str(uuid.UUID(int=7)), "some text"])
    def test_search_is_answered_by_indexes(
        self, model_admin: Any, admin_user: Any, sample: SampleReport, term: str
    ) -> None:
        request = Request(admin_user, {}).made
        rows = model_admin.model._default_manager.all()
        found, _ = model_admin.get_search_results(request, rows, term)
        # The planner may not walk a whole index in search of a match.
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_indexscan = off")
            cursor.execute("SET LOCAL enable_indexonlyscan = off")
        try:
            plan = explained(found)
        except EmptyResultSet:  # no search field can hold such a term: nothing is asked
            return

        assert "Seq Scan" not in plan, plan
        for index, condition in re.findall(r"Index Scan on (\S+).*\n\s+Index Cond: (.*)", plan):
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_get_indexdef(%s::regclass, 1, true)", [index])
                (leading,) = cursor.fetchone()
            # Without its first column an index is read from end to end.
            assert re.search(rf"\b{leading}\b", condition), plan


@pytest.mark.parametrize("waits", ["person", "resume", "version"])
def test_what_sagas_wait_for_is_answered_by_indexes(admin_user: Any, waits: str) -> None:
    (model_admin,) = (one for one in ADMINS if one.opts.label == "sagas.Saga")
    request = Request(admin_user, {"waits": waits}).made

    plan = explained(model_admin.get_changelist_instance(request).queryset.order_by())

    assert "Seq Scan on sagas" not in plan, plan


class TestCount:
    @pytest.mark.usefixtures("sample")
    def test_stops_at_the_limit_and_says_so(
        self, page: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from outbox.models import Event

        monkeypatch.setattr(listing, "COUNT_LIMIT", 30)

        with CaptureQueriesContext(connection) as captured:
            text = page.get(list_of(Event)).text

        assert Event.objects.count() > 30
        assert "30+ events" in text
        counts = [query["sql"] for query in captured if "COUNT(" in query["sql"].upper()]
        assert len(counts) == 1
        assert "LIMIT 31" in counts[0]

    def test_reads_as_a_number_within_the_limit(self) -> None:
        assert str(listing.CappedCount(12)) == "12"
        assert str(listing.CappedCount(10_000)) == "10000"
        assert str(listing.CappedCount(10_001)) == "10,000+"

    @pytest.mark.usefixtures("sample")
    def test_no_page_beyond_it(self, page: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        from outbox.models import Event

        monkeypatch.setattr(listing, "COUNT_LIMIT", 30)
        rows = Event.objects.order_by("-seq")

        paginator = listing.CappedPaginator(rows, 10)

        assert paginator.num_pages == 3
        assert len(paginator.page(3).object_list) == 10


@pytest.mark.usefixtures("sample")
class TestLists:
    def test_the_address_cannot_ask_for_another_order(self, page: Client) -> None:
        from outbox.models import DeadLetter

        # The event type, the retry count downwards, and the age, which alone has an index.
        with CaptureQueriesContext(connection) as captured:
            page.get(list_of(DeadLetter, o="1.-6.3"))

        orders = [q["sql"].rpartition(" ORDER BY ")[2] for q in captured if "ORDER BY" in q["sql"]]
        assert any(order.startswith('"outbox_dlq"."moved_at" ASC') for order in orders)
        assert not any("retry_count" in order for order in orders)

    def test_leading_values_are_the_distinct_ones(self) -> None:
        from outbox.models import DeadLetter, Event

        for model in (DeadLetter, Event):
            distinct = set(model.objects.values_list("event_type", flat=True))

            found = listing.leading_values(model, "event_type", "default")

            assert found == sorted(distinct)

    def test_a_list_reads_no_json(self, page: Client) -> None:
        for model in OURS:
            with CaptureQueriesContext(connection) as captured:
                page.get(list_of(model))

            json = [
                f.column for f in model._meta.concrete_fields if isinstance(f, models.JSONField)
            ]
            for query in captured:
                for column in json:
                    assert f'"{model._meta.db_table}"."{column}"' not in query["sql"]
