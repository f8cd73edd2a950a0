"""What an operator finds on the pages of the sample."""

from __future__ import annotations

import html
import re
import uuid

import pytest
from django.test import Client

from hodei.sample import SampleReport
from jobs.models import Job, Lease, Provider, Worker
from outbox.models import DeadLetter, DeadLetterActionRecord, Event, TroubledKey
from sagas.models import Saga, SagaAuditEvent
from tests.admin.pages import list_of, page_of

pytestmark = pytest.mark.django_db


def words(page: Client, address: str) -> str:
    """The text of a page, without its list of filters and its menu."""
    answer = page.get(address, follow=True)
    assert answer.status_code == 200
    text = answer.text[answer.text.index('id="content"') :]
    text = re.sub(r'<nav id="changelist-filter".*?</nav>', "", text, flags=re.DOTALL)
    text = html.unescape(re.sub(r"<[^>]+>", " ", text))
    return re.sub(r"\s+", " ", text)


@pytest.mark.usefixtures("sample")
class TestDeadLetters:
    def test_list_tells_open_from_dealt_with(self, page: Client) -> None:
        open_ones = words(page, list_of(DeadLetter, state="open"))
        dealt_with = words(page, list_of(DeadLetter, state="resolved"))

        assert "4 dead letters" in open_ones
        assert "3 dead letters" in dealt_with
        assert "HTTP 422 from https://billing.example" in open_ones
        assert all(end in dealt_with for end in ("Resolved", "Discarded", "Requeued"))

    @pytest.mark.parametrize("field", ["id", "original_event_id", "aggregate_id"])
    def test_search_finds_it_by_every_id(self, page: Client, field: str) -> None:
        letter = DeadLetter.objects.get(event_type="SettlementFailed")

        found = words(page, list_of(DeadLetter, q=f" {getattr(letter, field)} "))

        assert "1 dead letter " in found
        assert "SettlementFailed" in found

    def test_search_finds_a_group_by_its_fingerprint(self, page: Client) -> None:
        letter = DeadLetter.objects.get(event_type="SettlementFailed")

        assert "3 dead letters" in words(page, list_of(DeadLetter, q=letter.fingerprint))
        assert "0 dead letters" in words(page, list_of(DeadLetter, q="Settlement"))

    def test_page_tells_what_hangs_on_it(self, page: Client) -> None:
        letter = DeadLetter.objects.get(event_type="SettlementFailed")

        text = page.get(page_of(letter)).text
        said = words(page, page_of(letter))

        assert page_of(Event(pk=letter.original_event_id)) in text
        assert f"fingerprint={letter.fingerprint}" in text
        assert "Same failure, open: 2 others" in said
        assert "Same aggregate: none" in said
        assert "Its aggregate: Parked since" in said
        assert "Died" in said
        assert "example-only" not in text
        assert "Dealt with" not in said

    def test_page_survives_the_loss_of_its_event(self, page: Client) -> None:
        letter = DeadLetter.objects.get(event_type="SettlementFailed")
        Event.objects.filter(pk=letter.original_event_id).delete()

        assert f"{letter.original_event_id} is gone" in words(page, page_of(letter))

    def test_actions_are_limited_to_the_newest(self, page: Client) -> None:
        letter = DeadLetter.objects.get(event_type="SettlementFailed")
        DeadLetterActionRecord.objects.bulk_create(
            DeadLetterActionRecord(dead_letter=letter, action="REQUEUED", note=f"note {number:03}")
            for number in range(201)
        )

        said = words(page, page_of(letter))

        assert "note 200" in said
        assert "note 001" in said
        assert "note 000" not in said
        assert "All of them" in said


@pytest.mark.usefixtures("sample")
class TestEvents:
    @pytest.mark.parametrize(("status", "count"), [("PENDING", 4), ("FAILED", 4)])
    def test_filter_by_status(self, page: Client, status: str, count: int) -> None:
        assert f"{count} events" in words(page, list_of(Event, status=status))

    def test_search_by_aggregate_needs_no_type(self, page: Client) -> None:
        event = Event.objects.get(event_type="SettlementFailed")
        same = Event.objects.filter(aggregate_id=event.aggregate_id).count()

        assert f"{same} events" in words(page, list_of(Event, q=str(event.aggregate_id)))

    def test_page_links_its_dead_letter(self, page: Client) -> None:
        letter = DeadLetter.objects.get(event_type="SettlementFailed")

        assert page_of(letter) in page.get(page_of(Event(pk=letter.original_event_id))).text

    def test_keys_are_found_by_their_aggregate(self, page: Client) -> None:
        key = TroubledKey.objects.filter(state="PARKED").first()
        assert key is not None

        assert "1 troubled key" in words(page, list_of(TroubledKey, q=str(key.aggregate_id)))


@pytest.mark.usefixtures("sample")
class TestSagas:
    @pytest.mark.parametrize(
        ("outcome", "progress"),
        [
            ("COMPLETED", "4 of 4"),
            ("COMPENSATED", "0 of 4, 2 undone"),
            ("COMPENSATION_FAILED", "0 of 4, 1 undone"),
            ("live", "2 of 4"),
        ],
    )
    def test_list_tells_how_far_each_is(self, page: Client, outcome: str, progress: str) -> None:
        said = words(page, list_of(Saga, outcome=outcome))

        assert "1 saga " in said
        assert progress in said

    def test_found_by_correlation_and_business_key(self, page: Client) -> None:
        live = Saga.objects.get(outcome=None)

        for term in (live.correlation_id, live.business_key, str(live.pk)):
            assert "1 saga " in words(page, list_of(Saga, q=term))

    def test_page_has_steps_attempts_and_audit_in_order(self, page: Client) -> None:
        saga = Saga.objects.get(outcome="COMPENSATED")
        said = words(page, page_of(saga))

        names = [step.step_name for step in saga.steps.order_by("step_order")]
        panel = said[said.index("First 200 steps") : said.index("Newest 200 attempts")]
        places = [panel.index(name) for name in names]
        assert places == sorted(places)
        told = list(saga.audit_events.order_by("occurred_at").values_list("event_type", flat=True))
        heard = re.findall(r"\b(?:SAGA|STEP|COMPENSATION)_[A-Z]+\b", said)
        assert heard == told
        assert said.count("Compensation 1") == 2

    def test_audit_is_limited_to_the_newest(self, page: Client) -> None:
        saga = Saga.objects.get(outcome="COMPLETED")
        SagaAuditEvent.objects.bulk_create(
            SagaAuditEvent(saga=saga, event_type="NOTE", message=f"note {number:03}")
            for number in range(250)
        )

        said = words(page, page_of(saga))

        assert len(re.findall(r"note \d{3}", said)) == 200
        assert "All of them" in said


@pytest.mark.usefixtures("sample")
class TestJobs:
    def test_page_tells_where_the_job_is(self, page: Client) -> None:
        lease = Lease.objects.get(job__name="settlement 2291")

        assert f"Leased by {lease.worker_id} until" in words(page, page_of(Job(pk=lease.job_id)))
        waiting = Job.objects.get(name="thumbnail 99120")
        assert "In the queue since" in words(page, page_of(waiting))
        due = Job.objects.get(name="nightly-report")
        assert "Deferred until" in words(page, page_of(due))
        ended = Job.objects.get(name="settlement 2290")
        said = words(page, page_of(ended))
        assert "In no queue, held by nobody" in said
        assert "LedgerClosed: period 2026-10 is closed" in said
        assert "JobFailed" in said

    def test_silent_workers_are_found(self, page: Client) -> None:
        # The sample's now is long ago: every live worker is silent, the ended ones are not asked.
        live = Worker.objects.exclude(state__in=["TERMINATED", "FAILED"]).count()

        assert f"{live} workers" in words(page, list_of(Worker, silent="5m"))

    def test_a_live_worker_is_found_by_its_name(self, page: Client) -> None:
        assert "1 worker " in words(page, list_of(Worker, q="eu-west-7f9c"))

    def test_capacity_counts_live_workers(self, page: Client) -> None:
        provider = Provider.objects.get(name="k8s-eu-west")

        assert "4 of 40" in words(page, page_of(provider))

    def test_a_lease_without_its_job_is_shown(self, page: Client, sample: SampleReport) -> None:
        lease = Lease.objects.get(job__name="settlement 2291")
        Lease.objects.filter(pk=lease.pk).update(job_id=uuid.UUID(int=1))

        said = words(page, list_of(Lease))

        assert f"{sample.rows['job_leases']} leases" in said
