"""The audit: asked by any mix of filters, in pages; nobody changes what is in it."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from django.db import Error, connection

from jobs.models import AuditRecord
from jobs.services import audit
from jobs.services.audit import AuditFilter, count_by_type, find

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def make_record(minutes: int = 0, **values: Any) -> uuid.UUID:
    row = AuditRecord(
        **{"event_type": "A", "actor": "me", "payload": {}, **values},
        occurred_at=NOON + timedelta(minutes=minutes),
    )
    row.save(force_insert=True)
    return row.pk


def ids(wanted: AuditFilter | None = None, **options: Any) -> list[uuid.UUID]:
    return [row.pk for row in find(wanted, **options).records]


class TestRecord:
    def test_secrets_are_left_out(self) -> None:
        found = audit.record(
            "A", {"config": {"password": "hunter2", "url": "postgres://me:hunter2@host/"}}
        )

        row = AuditRecord.objects.get(pk=found)
        assert "hunter2" not in str(row.payload)
        assert (row.actor, row.payload["config"]["password"]) == ("system", "[redacted]")

    @pytest.mark.parametrize("text", ["\0", "\ud800", "'; DROP TABLE jobs; --", "%s", "\\u0000"])
    def test_hostile_text_is_on_record(self, text: str) -> None:
        found = audit.record("A", {"reason": text, text: [{text: text}]}, actor=text * 300)

        row = AuditRecord.objects.get(pk=found)
        expected = {"\0": "\N{REPLACEMENT CHARACTER}", "\ud800": "?"}.get(text, text)
        assert row.payload == {"reason": expected, expected: [{expected: expected}]}
        assert row.actor == (expected * 300)[:255]

    @pytest.mark.parametrize("sql", ["UPDATE audit_logs SET actor = 'x'", "DELETE FROM audit_logs"])
    def test_it_is_append_only(self, sql: str) -> None:
        make_record()
        with pytest.raises(Error, match="append-only"), \
                connection.cursor() as cursor:  # fmt: skip
            cursor.execute(sql)


class TestFind:
    def test_defect_3_5_any_mix_of_filters(self) -> None:
        filters: dict[str, list[Any]] = {
            "correlation_id": ["c1", "c2"], "event_type": ["A", "B"], "actor": ["me", "you"]
        }  # fmt: skip
        rows = {}
        for number, mix in enumerate(product(*filters.values())):
            rows[make_record(number, **dict(zip(filters, mix, strict=True)))] = (number, *mix)

        for correlation, event, actor, since, until in product(
            [None, "c1"], [None, "B"], [None, "you"], [None, 2], [None, 6]
        ):
            wanted = AuditFilter(
                correlation_id=correlation,
                event_type=event,
                actor=actor,
                since=None if since is None else NOON + timedelta(minutes=since),
                until=None if until is None else NOON + timedelta(minutes=until),
            )
            expected = [
                pk
                for pk, (number, c, e, a) in rows.items()
                if correlation in {None, c} and event in {None, e} and actor in {None, a}
                and (since or 0) <= number < (until or 99)
            ]  # fmt: skip
            assert ids(wanted) == expected[::-1]
            assert sum(number for _, number in count_by_type(wanted)) == len(expected)

    def test_defect_3_5_pages_are_whole_while_records_come(self) -> None:
        # Many at one instant: the id decides among them.
        made = {make_record(number // 5) for number in range(23)}
        seen: list[uuid.UUID] = []
        page = find(limit=4)
        while True:
            assert len(page.records) <= 4
            seen += [row.pk for row in page.records]
            if page.after is None:
                break
            make_record(999)
            page = find(limit=4, after=page.after)

        assert len(seen) == 23
        assert set(seen) == made

    def test_an_exact_page_is_the_last(self) -> None:
        for number in range(4):
            make_record(number)

        assert find(limit=4).after is None
        assert find(limit=3).after is not None

    @pytest.mark.parametrize("limit", [0, -1, 1001, True])
    def test_a_page_has_bounds(self, limit: int) -> None:
        with pytest.raises(ValueError, match="give 1 to 1,000"):
            find(limit=0 if limit is True else limit)

    @pytest.mark.parametrize("field", ["since", "until"])
    def test_a_time_has_a_zone(self, field: str) -> None:
        with pytest.raises(ValueError, match=f"{field} is .*with a time zone"):
            find(AuditFilter(**{field: datetime(2026, 1, 1)}))  # noqa: DTZ001

    def test_one_query_a_page(self, django_assert_num_queries: Any) -> None:
        make_record()
        with django_assert_num_queries(1):
            find(AuditFilter(actor="me", event_type="A"))


def test_defect_3_5_counts_by_type_largest_first() -> None:
    for event, number in {"B": 1, "C": 3, "A": 1}.items():
        for _ in range(number):
            make_record(event_type=event)

    assert count_by_type() == [("C", 3), ("A", 1), ("B", 1)]


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (AuditFilter(), "idx_audit_occurred_at"),
        (AuditFilter(since=NOON, until=NOON + timedelta(hours=1)), "idx_audit_occurred_at"),
        (AuditFilter(event_type="E7"), "idx_audit_event_occurred"),
        (AuditFilter(correlation_id="c7"), "idx_audit_correlation_id"),
        (AuditFilter(actor="a7"), "idx_audit_actor"),
    ],
)
def test_every_question_has_its_index(wanted: AuditFilter, index: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO audit_logs (id, correlation_id, event_type, payload, occurred_at, actor) "
            "SELECT gen_random_uuid(), 'c' || n %% 1000, 'E' || n %% 50, '{}', "
            "%s::timestamptz + n * interval '1 minute', 'a' || n %% 500 "
            "FROM generate_series(1, 5000) AS s (n)",
            [NOON],
        )
        cursor.execute("ANALYZE audit_logs")
    rows = audit._matching(wanted, "default").order_by("-occurred_at", "-id")[:101]

    assert index in rows.explain()
