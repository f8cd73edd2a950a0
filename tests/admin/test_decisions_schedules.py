"""What is decided about schedules, and what their pages say of the times."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from jobs import cron
from jobs.models import AuditRecord, Schedule
from jobs.services import schedules
from tests.admin.deciding import WHY, decide, job, told
from tests.admin.pages import list_of, page_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sample")]


@pytest.fixture
def nightly() -> Schedule:
    return Schedule.objects.get(name="archive-logs")


def decided(page: Client, row: Schedule, name: str) -> list[str]:
    return told(page.post(decide(row, name), {"id": row.pk, "reason": WHY}))[-1:]


class TestDeciding:
    def test_it_is_disabled_and_enabled_with_a_reason(
        self, page: Client, nightly: Schedule
    ) -> None:
        assert decided(page, nightly, "disable") == ["It is disabled now."]
        nightly.refresh_from_db()
        assert not nightly.enabled

        assert decided(page, nightly, "enable") == ["It is enabled now."]

        nightly.refresh_from_db()
        assert nightly.enabled
        assert nightly.next_run_at is not None
        assert timezone.now() < nightly.next_run_at < timezone.now() + timedelta(days=2)
        told_of = AuditRecord.objects.filter(actor="admin:admin").order_by("occurred_at")
        assert [(one.event_type, one.payload) for one in told_of] == [
            ("ScheduleDisabled", {"schedule": "archive-logs", "reason": WHY}),
            ("ScheduleEnabled", {"schedule": "archive-logs", "reason": WHY}),
        ]

    def test_who_was_faster_is_told_of(self, page: Client, nightly: Schedule) -> None:
        page.get(decide(nightly, "disable"))
        schedules.disable(nightly.name, actor="ada")

        assert decided(page, nightly, "disable") == [
            "It was disabled already; nothing was changed."
        ]

    def test_one_that_is_removed_meanwhile_is_told(self, page: Client, nightly: Schedule) -> None:
        key = nightly.pk
        schedules.remove(nightly.name, actor="ada")

        assert decided(page, Schedule(pk=key), "disable") == ["There is no such schedule any more."]

    def test_what_it_is_already_is_not_offered(self, page: Client, nightly: Schedule) -> None:
        text = page.get(page_of(nightly)).text

        assert "/decide/disable/" in text
        assert "/decide/enable/" not in text
        assert "It is enabled already." in page.get(decide(nightly, "enable")).text


class TestTimes:
    def test_the_page_has_the_next_ones_in_the_zone_of_the_admin(
        self, page: Client, nightly: Schedule
    ) -> None:
        text = page.get(page_of(nightly)).text

        assert nightly.next_run_at is not None
        times = cron.times(nightly.cron, nightly.time_zone, after=nightly.next_run_at)
        for at in (nightly.next_run_at, next(times), next(times), next(times), next(times)):
            assert at.strftime("%Y-%m-%d %H:%M:%S UTC") in text
        assert next(times).strftime("%Y-%m-%d %H:%M:%S UTC") not in text

    def test_a_disabled_one_has_none(self, page: Client) -> None:
        assert (
            "Not while it is disabled"
            in page.get(page_of(Schedule.objects.get(name="newsletter"))).text
        )

    @pytest.mark.parametrize(
        ("columns", "words"),
        [
            ({"next_run_at": None}, "Never any more"),
            ({"cron": "not a cron"}, "UTC"),
            ({"time_zone": "Nowhere/None"}, "UTC"),
        ],
    )
    def test_whatever_is_stored_is_a_page(
        self, page: Client, nightly: Schedule, columns: dict[str, Any], words: str
    ) -> None:
        Schedule.objects.filter(pk=nightly.pk).update(**columns)

        answer = page.get(page_of(nightly))

        assert answer.status_code == 200
        assert words in answer.text

    def test_the_last_job_has_its_state(self, page: Client, nightly: Schedule) -> None:
        last = job("archive-logs")
        Schedule.objects.filter(pk=nightly.pk).update(
            last_job_id=last.pk, last_run_at=timezone.now() - timedelta(hours=3)
        )

        text = page.get(page_of(nightly)).text

        assert page_of(last) in text
        assert "Running" in text
        assert "3\N{NO-BREAK SPACE}h ago" in page.get(list_of(Schedule)).text
