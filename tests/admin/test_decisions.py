"""What a person decides on the pages: asked for a reason, done once, on record, and told."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import DatabaseError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from hodei.admin import deciding
from hodei.admin.deciding import DecidingAdmin
from jobs.models import AuditRecord, Job
from jobs.services import lifecycle
from sagas.models import Saga
from tests.admin.deciding import DECIDING, WHY, decide, job, told
from tests.admin.pages import list_of, page_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sample")]


class TestOneRow:
    def test_is_asked_for_and_done_and_on_record(self, page: Client) -> None:
        waiting = job("thumbnail 99120")
        asked = page.get(decide(waiting, "cancel"))
        assert asked.status_code == 200
        assert "thumbnail 99120" in asked.text
        assert Job.objects.get(pk=waiting.pk).state == "PENDING"

        answer = page.post(decide(waiting, "cancel"), {"id": waiting.pk, "reason": WHY})

        assert answer.status_code == 302
        assert answer.url == page_of(waiting)
        assert told(answer) == ["Cancelled: it never begins."]
        waiting.refresh_from_db()
        assert waiting.state == "CANCELLED"
        record = AuditRecord.objects.get(event_type="JobCancelled", actor="admin:admin")
        assert record.payload["reason"] == WHY
        entry = LogEntry.objects.get()
        assert (entry.object_id, entry.user.get_username()) == (str(waiting.pk), "admin")
        assert entry.get_change_message() == f"Cancel: {WHY}"

    @pytest.mark.parametrize("reason", ["", "   ", "x" * 1_001, "a\0b"])
    def test_needs_a_reason_that_can_be_kept(self, page: Client, reason: str) -> None:
        waiting = job("thumbnail 99120")

        answer = page.post(decide(waiting, "cancel"), {"id": waiting.pk, "reason": reason})

        assert answer.status_code == 200
        assert "errorlist" in answer.text
        assert Job.objects.get(pk=waiting.pk).state == "PENDING"
        assert not LogEntry.objects.exists()

    def test_a_lost_race_is_told_and_changes_nothing(self, page: Client) -> None:
        waiting = job("thumbnail 99120")
        page.get(decide(waiting, "cancel"))
        lifecycle.cancel(waiting.pk, reason="I was faster", actor="ada")

        answer = page.post(decide(waiting, "cancel"), {"id": waiting.pk, "reason": WHY})

        (refusal,) = told(answer)
        assert refusal.endswith("is CANCELLED and cannot be cancelled; it has ended.")
        assert not LogEntry.objects.exists()
        assert not AuditRecord.objects.filter(actor="admin:admin").exists()

    def test_what_cannot_be_done_is_said_instead_of_asked(self, page: Client) -> None:
        asked = page.get(decide(job("settlement 2290"), "cancel")).text

        assert "It is FAILED; this is for" in asked
        assert "<textarea" not in asked

    def test_a_failing_database_is_told(
        self, page: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: Any, **__: Any) -> None:
            raise DatabaseError("canceling statement due to lock timeout\nCONTEXT: a secret")

        monkeypatch.setattr(lifecycle, "cancel", fail)
        waiting = job("thumbnail 99120")

        answer = page.post(decide(waiting, "cancel"), {"id": waiting.pk, "reason": WHY})

        (refusal,) = told(answer)
        assert "has not done it (canceling statement due to lock timeout). Try again." in refusal

    def test_what_is_gone_is_told(self, page: Client) -> None:
        for key in (uuid.uuid4(), "nonsense", "'; --"):
            answer = page.get(decide(Job(pk=key), "cancel"))

            assert answer.status_code == 302
            assert told(answer)[-1] == "There is no such job any more."

    def test_after_a_deletion_the_list_is_shown(self, page: Client) -> None:
        ended = job("settlement 2290")

        answer = page.post(decide(ended, "delete"), {"id": ended.pk, "reason": WHY})

        assert answer.url == list_of(Job)
        assert not Job.objects.filter(pk=ended.pk).exists()
        assert LogEntry.objects.get().object_id == str(ended.pk)

    def test_further_questions_are_checked(self, page: Client) -> None:
        waiting = job("thumbnail 99120")
        address = decide(waiting, "set_priority")

        refused = page.post(address, {"id": waiting.pk, "reason": WHY, "priority": "101"})
        answer = page.post(address, {"id": waiting.pk, "reason": WHY, "priority": "42"})

        assert refused.status_code == 200
        assert told(answer) == ["It has the priority 42."]
        assert Job.objects.get(pk=waiting.pk).priority == 42


class TestSelection:
    def chosen(self, page: Client, action: str, rows: Any, **query: Any) -> Any:
        keys = [row.pk for row in rows]
        given = {"action": action, "_selected_action": keys}
        return page.post(list_of(Job, **query), given)

    def test_is_asked_about_with_a_count_of_what_is_possible(self, page: Client) -> None:
        rows = [job("thumbnail 99120"), job("settlement 2290")]

        asked = self.chosen(page, "cancel", rows)

        assert asked.status_code == 200
        assert "Cancel: 1 of 2 jobs" in asked.text
        assert "It is FAILED; this is for" in asked.text
        assert Job.objects.filter(state="CANCELLED", pk__in=[r.pk for r in rows]).count() == 0

    def test_each_is_done_or_told_of(self, page: Client) -> None:
        rows = [job("thumbnail 99120"), job("settlement 2290"), job("nightly-report")]
        back = "state__exact=PENDING&q=x"

        answer = page.post(
            decide(Job, "cancel"), {"id": [r.pk for r in rows], "reason": WHY, "back": back}
        )

        assert answer.url == f"{list_of(Job)}?{back}"
        done, refused = told(answer)
        assert done == "2 of 3 jobs cancelled."
        assert "is FAILED and cannot be cancelled" in refused
        assert LogEntry.objects.count() == 2

    def test_of_many_refusals_some_are_told(
        self, page: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(deciding, "TOLD", 1)
        rows = Job.objects.filter(state="SUCCEEDED")[:3]

        answer = page.post(decide(Job, "cancel"), {"id": [r.pk for r in rows], "reason": WHY})

        assert len(told(answer)) == 2
        assert told(answer)[1] == "So it was with 2 more."

    def test_a_selection_that_is_too_large_is_refused(
        self, page: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(deciding, "MOST_AT_ONCE", 2)

        answer = page.post(
            list_of(Saga),
            {"action": "pause", "select_across": 1, "_selected_action": [Saga.objects.first().pk]},
        )

        assert answer.status_code == 302
        assert told(answer)[0].startswith("More than 2 sagas are selected")

    @pytest.mark.parametrize("model_admin", DECIDING, ids=lambda one: one.opts.label)
    def test_the_page_that_asks_costs_the_same_for_many(
        self, page: Client, model_admin: DecidingAdmin
    ) -> None:
        rows = list(model_admin.model.objects.all())
        action = next(action for action in model_admin.decisions if action.many)

        def queries(number: int) -> int:
            given = {
                "action": action.name,
                "_selected_action": [row.pk for row in rows[:number]],
            }
            with CaptureQueriesContext(connection) as captured:
                assert page.post(list_of(model_admin.model), given).status_code == 200
            return len(captured)

        queries(1)
        assert queries(len(rows)) == queries(1) <= 9


@pytest.mark.parametrize("name", ["nonsense", "delete_selected", "cancel_"])
def test_there_are_no_other_decisions(page: Client, name: str) -> None:
    assert page.get(decide(job("thumbnail 99120"), name)).status_code == 404


def test_a_part_is_asked_about_as_a_part(page: Client) -> None:
    saga = Saga.objects.get(outcome="COMPENSATION_FAILED")

    assert page.get(decide(saga, "mark_handled")).status_code == 404
    assert page.get(decide(saga, "pause", part="transfer_job")).status_code == 404


def test_a_long_name_is_cut_on_record(client: Client) -> None:
    user = User.objects.create_superuser("u" * 150)
    client.force_login(user)
    waiting = job("thumbnail 99120")

    client.post(decide(waiting, "hold"), {"id": waiting.pk, "reason": WHY})

    record = AuditRecord.objects.get(event_type="JobHeld", actor__startswith="admin:u")
    assert len(record.actor) == 100
