"""Decisions about all rows that match a filter: counted, bounded, each row met once."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from typing import Any

import psycopg
import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from hodei.admin import deciding, sweeping
from jobs.models import AuditRecord, Job, QueueEntry
from outbox.models import DeadLetter, DeadLetterActionRecord
from sagas.models import Saga
from tests.admin.deciding import DECIDING, WHY, decide, job, told
from tests.admin.pages import list_of
from tests.admin.test_permissions import staff_with
from tests.admin.test_scale import Request, explained

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sample")]

SWEEPS = [(one, action) for one in DECIDING for action in one.decisions if action.among]
NAMES = [f"{one.opts.model_name}-{action.name}" for one, action in SWEEPS]
FAILED = "state__exact=FAILED"


def hidden(text: str) -> dict[str, str]:
    """What the form of a page sends beside what a person types."""
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', text)
    return {name: unescape(value) for name, value in found if name != "csrfmiddlewaretoken"}


def copies(name: str, number: int) -> list[Job]:
    """Jobs like that one of the sample, in the same state."""
    original = job(name)
    rows = [
        Job(
            name=f"{name} {count}",
            spec=original.spec,
            state=original.state,
            queue="bulk",
            completed_at=original.completed_at,
            attempts=1,
            max_attempts=1,
        )
        for count in range(number)
    ]
    return Job.objects.bulk_create(rows)


def sweep(page: Client, model: Any, name: str, query: str, **given: Any) -> Any:
    """Ask about all that match, and answer the form."""
    address = decide(model, name)
    asked = page.get(decide(model, name, all=1, back=query))
    assert asked.status_code == 200
    return page.post(address, {**hidden(asked.text), "reason": WHY, **given})


class TestAsking:
    def test_says_what_matches_and_with_how_many_it_can_be_done(self, page: Client) -> None:
        failed = Job.objects.filter(state__in=["FAILED", "TIMEOUT"]).count()

        text = page.get(decide(Job, "retry", all=1, back="")).text

        assert f"Retry: {failed} jobs" in text
        assert f"<dd>{Job.objects.count()}</dd>" in text
        assert f"Possible with {failed}" in text
        assert "none: all jobs" in text
        assert not LogEntry.objects.exists()

    def test_says_the_filter_in_words(self, page: Client) -> None:
        query = "state__exact=FAILED&age=older&correlation_id=order-%3C1%3E&q=x"

        text = page.get(decide(Job, "retry", all=1, back=query)).text

        assert "state: Failed" in text
        assert "enqueued: Over 7 days ago" in text
        assert "correlation id: order-&lt;1&gt;" in text
        assert "search: x" in text
        assert "Nothing can be done" in text

    def test_counts_no_further_than_a_bound_and_says_so(
        self, page: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        copies("settlement 2290", 5)
        monkeypatch.setattr(sweeping, "COUNT_LIMIT", 3)

        with CaptureQueriesContext(connection) as captured:
            text = page.get(decide(Job, "retry", all=1, back=FAILED)).text

        assert "Retry: more than 3 jobs" in text
        assert any("LIMIT 4" in query["sql"] for query in captured)

    def test_a_selection_that_is_too_large_for_a_list_of_rows_is_asked_about_so(
        self, page: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(deciding, "MOST_AT_ONCE", 2)
        copies("settlement 2290", 3)
        given = {
            "action": "retry",
            "select_across": 1,
            "_selected_action": [job("settlement 2290").pk],
        }

        answer = page.post(f"{list_of(Job)}?{FAILED}", given, follow=True)

        assert answer.redirect_chain == [(decide(Job, "retry", all=1, back=FAILED), 302)]
        assert f"Retry: {Job.objects.filter(state='FAILED').count()} jobs" in answer.text

    def test_the_list_leads_there_without_scripts(self, page: Client) -> None:
        text = unescape(page.get(f"{list_of(Job)}?{FAILED}").text)

        assert decide(Job, "retry", all=1, back=FAILED) in text
        assert f"{decide(Job, 'delete')}?" not in text

    def test_a_page_of_the_list_that_is_gone_meanwhile_is_no_matter(self, page: Client) -> None:
        assert page.get(decide(Job, "retry", all=1, back=f"{FAILED}&p=7")).status_code == 200

    @pytest.mark.parametrize(
        "query", ["spec__x=1", "error_message__icontains=a", "correlation_id=%00"]
    )
    def test_no_other_filter_than_the_lists(self, page: Client, query: str) -> None:
        assert page.get(decide(Job, "retry", all=1, back=query)).status_code == 400

    def test_a_filter_that_means_nothing_is_told(self, page: Client) -> None:
        answer = page.get(decide(Job, "retry", all=1, back="selected_provider=nonsense"))

        assert answer.url == list_of(Job)
        assert told(answer) == ["The list has no such filter. Nothing was changed."]

    def test_what_is_only_for_rows_is_not_there(self, page: Client) -> None:
        assert page.get(decide(Job, "delete", all=1, back="")).status_code == 404
        assert page.get(decide(DeadLetter, "resend", all=1, back="")).status_code == 404
        assert page.get(decide(Saga, "pause", all=1, back="")).status_code == 404

    @pytest.mark.parametrize(("model_admin", "action"), SWEEPS, ids=NAMES)
    def test_the_page_costs_the_same_for_many(
        self, page: Client, model_admin: Any, action: Any
    ) -> None:
        address = decide(model_admin.model, action.name, all=1, back="")

        def queries() -> int:
            with CaptureQueriesContext(connection) as captured:
                assert page.get(address).status_code == 200
            return len(captured)

        queries()
        few = queries()
        copies("settlement 2290", 40)
        assert queries() == few <= 9


@pytest.mark.parametrize(("model_admin", "action"), SWEEPS, ids=NAMES)
def test_what_comes_next_is_answered_by_an_index(
    model_admin: Any, action: Any, admin_user: Any
) -> None:
    request = Request(admin_user, {}).made
    rows = action.among(model_admin.get_changelist_instance(request).queryset)

    plan = explained(rows.filter(pk__gt=uuid.UUID(int=7)).order_by("pk").values_list("pk")[:500])

    assert f"Seq Scan on {model_admin.opts.db_table}" not in plan
    assert "Sort Key" not in plan, plan


class TestDoing:
    def test_does_it_with_all_that_match_and_nothing_else(self, page: Client) -> None:
        mine = copies("settlement 2290", 3)
        other = job("settlement 2290")
        Job.objects.filter(pk__in=[row.pk for row in mine]).update(correlation_id="mine")

        answer = sweep(page, Job, "retry", "correlation_id=mine")

        assert answer.url == f"{list_of(Job)}?correlation_id=mine"
        assert told(answer) == ["3 jobs retried."]
        keys = {row.pk for row in mine}
        assert {row.state for row in Job.objects.filter(pk__in=keys)} == {"PENDING"}
        assert QueueEntry.objects.filter(job_id__in=keys).count() == 3
        other.refresh_from_db()
        assert other.state == "FAILED"
        records = AuditRecord.objects.filter(event_type="JobRetried", actor="admin:admin")
        assert {record.payload["reason"] for record in records} == {WHY}
        assert len({record.payload["batch"] for record in records}) == 1
        assert {entry.object_id for entry in LogEntry.objects.all()} == {str(key) for key in keys}

    def test_needs_a_reason(self, page: Client) -> None:
        answer = sweep(page, Job, "cancel", "", reason=" ")

        assert answer.status_code == 200
        assert "errorlist" in answer.text
        assert not LogEntry.objects.exists()

    def test_further_questions_are_asked(self, page: Client) -> None:
        mine = copies("thumbnail 99120", 3)
        Job.objects.filter(pk__in=[row.pk for row in mine]).update(correlation_id="mine")

        refused = sweep(page, Job, "set_priority", "correlation_id=mine", priority="101")
        answer = sweep(page, Job, "set_priority", "correlation_id=mine", priority="42")

        assert refused.status_code == 200
        assert told(answer) == ["3 jobs given another priority."]
        assert set(Job.objects.filter(correlation_id="mine").values_list("priority")) == {(42,)}

    def test_a_request_is_bounded_and_the_next_goes_on(
        self, page: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sweeping, "MOST_PER_REQUEST", 2)
        copies("settlement 2290", 4)
        failed = Job.objects.filter(state="FAILED").count()

        first = sweep(page, Job, "retry", FAILED)

        assert first.status_code == 200
        assert "<strong>2 retried</strong>" in first.text
        assert f"{failed - 2} jobs remain" in first.text
        assert Job.objects.filter(state="FAILED").count() == failed - 2
        assert WHY in first.text
        answer = first
        while answer.status_code == 200:
            answer = page.post(decide(Job, "retry"), {**hidden(answer.text), "reason": WHY})
        assert told(answer) == [f"{failed} jobs retried."]
        assert not Job.objects.filter(state="FAILED").exists()
        batches = AuditRecord.objects.filter(event_type="JobRetried", actor="admin:admin")
        assert len({record.payload["batch"] for record in batches}) == 1

    def test_ends_where_rows_stay_what_they_were(
        self, page: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # A job that is given a priority matches as before.
        monkeypatch.setattr(sweeping, "MOST_PER_REQUEST", 2)
        copies("thumbnail 99120", 3)
        answer = sweep(page, Job, "set_priority", "state__exact=PENDING", priority=7)
        requests = 1

        while answer.status_code == 200:
            given = {**hidden(answer.text), "reason": WHY, "priority": 7}
            answer = page.post(decide(Job, "set_priority"), given)
            requests += 1

        waiting = Job.objects.filter(state="PENDING").count()
        assert requests == -(-waiting // 2)
        assert LogEntry.objects.count() == waiting

    def test_time_bounds_it_as_well(self, page: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sweeping, "LONGEST", 0.0)
        monkeypatch.setattr(sweeping, "SINGLES", 1)

        answer = sweep(page, Job, "cancel", "state__exact=PENDING")

        assert "<strong>1 cancelled</strong>" in answer.text

    def test_it_keeps_to_a_rate(self, page: Client) -> None:
        mine = copies("settlement 2290", 6)
        Job.objects.filter(pk__in=[row.pk for row in mine]).update(correlation_id="mine")
        began = time.monotonic()

        answer = sweep(page, Job, "retry", "correlation_id=mine", rate=20)

        assert told(answer) == ["6 jobs retried."]
        assert time.monotonic() - began >= 6 / 20

    @pytest.mark.parametrize("rate", ["0", "-1", "10001", "x"])
    def test_a_rate_that_is_none_is_refused(self, page: Client, rate: str) -> None:
        answer = sweep(page, Job, "cancel", "", rate=rate)

        assert "errorlist" in answer.text
        assert not LogEntry.objects.exists()

    @pytest.mark.parametrize(
        "forged",
        [
            {"batch": "nonsense"},
            {"after": "nonsense"},
            {"done": "x" * 100, "refused": "-5"},
            {"done": "9" * 5_000},
        ],
    )
    def test_a_forged_form_does_what_it_says_or_begins_anew(
        self, page: Client, forged: dict[str, str]
    ) -> None:
        failed = Job.objects.filter(state="FAILED").count()

        answer = sweep(page, Job, "retry", FAILED, **forged)

        assert told(answer) == [f"{failed} jobs retried."]


@contextmanager
def other_session() -> Iterator[Any]:
    """A transaction of somebody else's."""
    with psycopg.connect(**connection.get_connection_params()) as session:
        yield session
        session.rollback()


def forbid(name: str) -> None:
    """Let the database refuse each change of the jobs of this name."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "RAISE EXCEPTION 'the disk is full'; END $$"
        )
        cursor.execute(
            "CREATE TRIGGER refuse BEFORE UPDATE ON jobs FOR EACH ROW "
            f"WHEN (old.name = '{name}') EXECUTE FUNCTION refuse()"
        )


class TestInterruption:
    @pytest.mark.parametrize("name", ["retry", "cancel"])
    def test_leaves_nothing_by_halves_and_says_how_far_it_came(
        self, page: Client, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.setattr(sweeping, "PORTION", 2)
        mine = copies("settlement 2290" if name == "retry" else "thumbnail 99120", 6)
        Job.objects.filter(pk__in=[row.pk for row in mine]).update(correlation_id="mine")
        ordered = list(Job.objects.filter(correlation_id="mine").order_by("pk"))
        forbid(ordered[3].name)

        answer = sweep(page, Job, name, "correlation_id=mine")

        done = 2 if name == "retry" else 3  # whole portions, or whole rows
        state = ordered[0].state
        assert f"<strong>{done} " in answer.text
        assert f"{6 - done} jobs remain" in answer.text
        assert "the database has not done it (the disk is full)." in answer.text
        assert Job.objects.filter(correlation_id="mine", state=state).count() == 6 - done
        assert LogEntry.objects.count() == done
        assert AuditRecord.objects.filter(actor="admin:admin").count() == done
        with connection.cursor() as cursor:
            cursor.execute("DROP TRIGGER refuse ON jobs")
        again = page.post(decide(Job, name), {**hidden(answer.text), "reason": WHY})
        assert told(again)[0].startswith("6 jobs ")
        assert LogEntry.objects.count() == 6

    @pytest.mark.django_db(transaction=True)
    def test_nothing_waits_for_minutes(self, page: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sweeping, "LOCK_TIMEOUT", "50ms")
        waiting = job("thumbnail 99120")
        with other_session() as session:
            session.execute("SELECT FROM jobs WHERE id = %s FOR UPDATE", [waiting.pk])

            answer = sweep(page, Job, "cancel", "q=" + str(waiting.pk))

            assert "canceling statement due to lock timeout" in answer.text
            assert not LogEntry.objects.exists()
        again = page.post(decide(Job, "cancel"), {**hidden(answer.text), "reason": WHY})
        assert told(again) == ["1 job cancelled."]

    def test_before_anything_was_done_it_is_told_as_well(self, page: Client) -> None:
        forbid(job("settlement 2290").name)

        answer = sweep(page, Job, "retry", FAILED)

        assert "<strong>0 retried</strong>" in answer.text
        assert "It has stopped" in answer.text


class TestDeadLetters:
    def opened(self) -> int:
        return DeadLetter.objects.filter(resolved_at__isnull=True).count()

    @pytest.mark.parametrize(
        ("name", "action"),
        [("requeue", "REQUEUED"), ("resolve", "RESOLVED"), ("discard", "DISCARDED")],
    )
    def test_all_that_match_are_dealt_with(self, page: Client, name: str, action: str) -> None:
        number = self.opened()

        answer = sweep(page, DeadLetter, name, "state=open")

        assert number > 1
        assert told(answer)[0].startswith(f"{number} dead letters ")
        records = DeadLetterActionRecord.objects.filter(actor="admin:admin")
        assert {(one.action, one.note) for one in records} == {(action, WHY)}
        assert len({one.batch_id for one in records}) == 1
        assert LogEntry.objects.count() == number
        assert self.opened() == 0

    def test_only_what_can_be_taken_back_is_restored(self, page: Client) -> None:
        number = self.opened()
        one = DeadLetter.objects.filter(resolved_at__isnull=True).first()
        assert one is not None
        page.post(decide(one, "requeue"), {"id": one.pk, "reason": WHY})
        sweep(page, DeadLetter, "discard", "state=open")

        query = f"fingerprint={one.fingerprint}"
        page.get(decide(DeadLetter, "restore", all=1, back=query))
        sweep(page, DeadLetter, "restore", "state=resolved")

        assert self.opened() >= number - 1
        one.refresh_from_db()
        assert one.resolved_at is not None

    def test_why_not_is_told(self, page: Client) -> None:
        letter = DeadLetter.objects.filter(resolved_at__isnull=True).first()
        assert letter is not None
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE outbox_events SET status = 'PUBLISHED', published_at = now() WHERE id = %s",
                [letter.original_event_id],
            )
        number = self.opened()

        answer = sweep(page, DeadLetter, "requeue", "state=open")

        done, refused = told(answer)
        assert done == f"{number - 1:,} of {number:,} dead letters requeued."
        assert "to send it again would repeat it" in refused


@pytest.mark.parametrize(("model_admin", "action"), SWEEPS, ids=NAMES)
class TestPermission:
    def test_to_view_is_not_enough(self, client: Client, model_admin: Any, action: Any) -> None:
        staff = staff_with(client, f"view_{model_admin.opts.model_name}")
        address = decide(model_admin.model, action.name)

        assert staff.get(f"{address}?all=1&back=").status_code == 403
        assert staff.post(address, {"all": 1, "back": "", "reason": WHY}).status_code == 403
        assert "decide/" not in staff.get(list_of(model_admin.model)).text
        assert not LogEntry.objects.exists()

    def test_its_own_is_enough(self, client: Client, model_admin: Any, action: Any) -> None:
        permission = action.permission.partition(".")[2]
        staff = staff_with(client, f"view_{model_admin.opts.model_name}", permission)

        assert staff.get(decide(model_admin.model, action.name, all=1)).status_code == 200
        assert f"decide/{action.name}/" in staff.get(list_of(model_admin.model)).text

    def test_to_view_belongs_to_it(self, client: Client, model_admin: Any, action: Any) -> None:
        staff = staff_with(client, action.permission.partition(".")[2])

        assert staff.get(decide(model_admin.model, action.name, all=1)).status_code == 403
