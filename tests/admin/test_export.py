"""The audit as a file: what the list shows, in portions, and where it goes on."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from jobs.admin import export
from jobs.models import AuditRecord
from jobs.services import audit
from tests.admin.pages import list_of
from tests.admin.test_permissions import staff_with

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sample")]


def address(**query: Any) -> str:
    return reverse("admin:jobs_auditrecord_export", query=query)


def text(answer: Any) -> str:
    return b"".join(answer.streaming_content).decode()


def records(answer: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(text(answer))["records"]
    return found


def newest_first() -> list[str]:
    return [str(one.pk) for one in AuditRecord.objects.order_by("-occurred_at", "-pk")]


class TestExport:
    def test_json_has_every_record_the_newest_first(self, page: Client) -> None:
        answer = page.get(address(format="json"))

        document = json.loads(text(answer))
        assert document["format_version"] == 1
        assert document["next"] is None
        assert [one["id"] for one in document["records"]] == newest_first()
        held = next(one for one in document["records"] if one["event_type"] == "JobHeld")
        assert held["payload"]["lost_leases"] == 2
        assert held["occurred_at"].endswith("+00:00")
        assert answer["Content-Disposition"] == 'attachment; filename="audit.json"'

    def test_csv_has_the_same(self, page: Client) -> None:
        rows = list(csv.DictReader(io.StringIO(text(page.get(address(format="csv"))))))

        assert [row["id"] for row in rows] == newest_first()
        document = records(page.get(address(format="json")))
        assert [json.loads(row["payload"]) for row in rows] == [one["payload"] for one in document]

    @pytest.mark.parametrize("form", ["csv", "json"])
    def test_of_nothing_is_a_file_as_well(self, page: Client, form: str) -> None:
        said = text(page.get(address(format=form, back="event_type=Nothing")))

        if form == "csv":
            assert said.strip() == ",".join(export.COLUMNS)
        else:
            assert json.loads(said)["records"] == []

    def test_it_is_what_the_list_shows(self, page: Client) -> None:
        found = records(page.get(address(format="json", back="event_type=JobFailed&p=3")))

        assert {one["event_type"] for one in found} == {"JobFailed"}
        assert len(found) == 2

    @pytest.mark.parametrize("form", ["csv", "json"])
    def test_a_file_is_bounded_and_says_where_it_goes_on(
        self, page: Client, monkeypatch: pytest.MonkeyPatch, form: str
    ) -> None:
        monkeypatch.setattr(export, "MOST_EXPORTED", 3)
        monkeypatch.setattr(export, "PORTION", 2)
        AuditRecord.objects.bulk_create(
            AuditRecord(
                event_type="Same",
                actor="a",
                payload={},
                occurred_at=AuditRecord.objects.values_list("occurred_at", flat=True)[0],
            )
            for _ in range(4)
        )
        answer, found = page.get(address(format=form)), []
        while True:
            said = text(answer)
            part = (
                [row["id"] for row in csv.DictReader(io.StringIO(said))]
                if form == "csv"
                else [one["id"] for one in json.loads(said)["records"]]
            )
            assert len(part) <= 3
            found += part
            link = answer.get("Link")
            if link is None:
                break
            answer = page.get(link.removeprefix("<").partition(">")[0])

        assert found == newest_first()

    def test_a_portion_is_found_behind_the_last_and_reads_no_offset(
        self, page: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(export, "PORTION", 3)

        with CaptureQueriesContext(connection) as captured:
            text(page.get(address(format="json")))

        portions = [q["sql"] for q in captured if "LIMIT 3" in q["sql"]]
        assert len(portions) == -(-AuditRecord.objects.count() // 3)
        assert not any("OFFSET" in sql for sql in portions)

    def test_no_spreadsheet_takes_a_cell_for_a_formula(self, page: Client) -> None:
        audit.record("JobHeld", {"a": 1}, actor="=HYPERLINK(0)", correlation_id="+1")

        rows = list(csv.DictReader(io.StringIO(text(page.get(address(format="csv"))))))

        assert (rows[0]["actor"], rows[0]["correlation_id"]) == ("'=HYPERLINK(0)", "'+1")

    def test_whatever_is_stored_is_exported_without_secrets(self, page: Client) -> None:
        with connection.cursor() as cursor:
            for payload in ('{"password": "example-only"}', "[" * 5_000 + "]" * 5_000, "1" * 5_000):
                cursor.execute(
                    "INSERT INTO audit_logs (id, event_type, actor, payload, occurred_at) "
                    "VALUES (gen_random_uuid(), 'Odd', 'x', %s, now())",
                    [payload],
                )

        said = text(page.get(address(format="json", back="event_type=Odd")))

        assert "example-only" not in said
        # How deep is too deep differs: to read it, or to take secrets out of it.
        assert "nested too deeply to be" in said
        assert len(json.loads(said)["records"]) == 3

    @pytest.mark.parametrize(
        "query",
        [
            {},
            {"format": "xml"},
            {"format": "csv", "after": "nonsense"},
            {"format": "csv", "after": "2026-01-01T00:00:00/00000000-0000-0000-0000-000000000001"},
            {"format": "csv", "after": "9999-12-31T23:59:59-12:00/x"},
        ],
    )
    def test_what_is_none_is_not_there(self, page: Client, query: dict[str, str]) -> None:
        assert page.get(address(**query)).status_code == 404

    def test_no_other_filter_than_the_lists(self, page: Client) -> None:
        assert page.get(address(format="csv", back="payload__password=x")).status_code == 400


class TestPermission:
    def test_it_takes_the_right_to_view_the_audit(self, client: Client) -> None:
        staff = staff_with(client, "view_job")

        assert staff.get(address(format="csv")).status_code == 403

    def test_that_is_enough(self, client: Client) -> None:
        staff = staff_with(client, "view_auditrecord")

        assert staff.get(address(format="csv")).status_code == 200
        assert "Download as CSV" in staff.get(list_of(AuditRecord)).text
        assert staff.post(address(format="csv")).status_code == 405
