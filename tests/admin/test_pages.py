"""What an operator finds on the pages of the sample."""

from __future__ import annotations

import html
import re
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.core import checks
from django.db import transaction
from django.test import Client
from django.utils import timezone
from django.utils.text import capfirst

from hodei.admin.checks import check_templates
from hodei.admin.readonly import ReadOnlyAdmin
from hodei.sample import SampleReport
from jobs.models import Job, Lease, Provider, Worker
from outbox.keys import aggregate_of
from outbox.models import DeadLetter, DeadLetterActionRecord, Event, TroubledKey
from sagas import registry
from sagas.definition import steps_hash
from sagas.models import Saga, SagaAuditEvent
from tests.admin.deciding import decide
from tests.admin.pages import admins, list_of, page_of
from tests.admin.reading import words

pytestmark = pytest.mark.django_db


def test_without_the_app_of_the_templates_the_checks_say_so(settings: Any) -> None:
    """Otherwise the page of a row would be an error of the server."""
    settings.INSTALLED_APPS = [one for one in settings.INSTALLED_APPS if one != "hodei.schema"]
    (found,) = check_templates()
    assert (found.id, found.hint) == ("hodei.E001", "Add 'hodei.schema' to INSTALLED_APPS.")
    assert found in checks.run_checks(tags=[checks.Tags.admin])

    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "hodei.schema"]
    assert check_templates() == []


@pytest.mark.parametrize("one", admins(), ids=lambda one: one.opts.label)
def test_a_list_says_what_it_lists(page: Client, one: ReadOnlyAdmin) -> None:
    said = words(page, list_of(one.model))

    assert one.explanation.endswith(".")
    assert one.explanation in said
    title = capfirst(str(one.opts.verbose_name_plural))
    assert title in said.partition(one.explanation)[0]


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

    def test_it_is_known_by_the_callers_own_key(self, page: Client) -> None:
        letter = DeadLetter.objects.get(event_type="SettlementFailed")
        about = aggregate_of(letter.aggregate_type, "order/4711")
        DeadLetter.objects.filter(pk=letter.pk).update(
            aggregate_id=about.id, aggregate_key=about.key
        )

        found = words(page, list_of(DeadLetter, q=f"{letter.aggregate_type}/order/4711"))

        assert "1 dead letter " in found
        assert f"{letter.aggregate_type} order/4711" in found
        assert "0 dead letters" in words(page, list_of(DeadLetter, q="OTHER/order/4711"))
        decision = words(page, decide(letter, "discard"))
        assert f"SettlementFailed of {letter.aggregate_type} order/4711" in decision

    def test_list_tells_which_hold_others_back_and_their_class(self, page: Client) -> None:
        letter = DeadLetter.objects.get(event_type="SettlementFailed")
        DeadLetter.objects.filter(pk=letter.pk).update(error_class="crashed")

        found = words(page, list_of(DeadLetter, q=str(letter.pk)))
        TroubledKey.objects.filter(dead_letter_id=letter.pk).delete()
        alone = words(page, list_of(DeadLetter, q=str(letter.pk)))

        assert "Open others wait" in found
        assert "crashed" in found
        assert "others wait" not in alone

    def test_page_tells_how_many_wait_and_behind_what(self, page: Client) -> None:
        letter = DeadLetter.objects.get(event_type="SettlementFailed")
        key = TroubledKey.objects.get(dead_letter_id=letter.pk)

        assert "1 event waits behind it" in words(page, page_of(letter))

        other = Event.objects.filter(event_type="SettlementReported")[0]
        TroubledKey.objects.filter(pk=key.pk).update(event_id=other.pk, dead_letter_id=None)
        assert f"behind event {other.pk}" in words(page, page_of(letter))

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

    def test_it_is_known_by_the_callers_own_key(self, page: Client) -> None:
        about = aggregate_of("JOB", 4711)
        Event.objects.filter(event_type="SettlementFailed").update(
            aggregate_type="JOB", aggregate_id=about.id, aggregate_key=about.key
        )

        found = words(page, list_of(Event, q="JOB/4711"))

        assert "1 event " in found
        assert "JOB 4711" in found

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

    def test_found_by_what_they_wait_for(self, page: Client) -> None:
        live = Saga.objects.get(outcome=None)
        assert "0 sagas" in words(page, list_of(Saga, waits="resume"))
        Saga.objects.filter(pk=live.pk).update(pause_requested_at=live.started_at)

        assert "EXECUTION" in words(page, list_of(Saga, waits="resume"))
        assert "RECOVERY" in words(page, list_of(Saga, waits="person"))
        Saga.objects.filter(pk=live.pk).update(incident="Nobody knows whether it was done.")
        said = words(page, list_of(Saga, waits="person"))
        assert "2 sagas" in said
        assert "a person: Nobody knows whether it was done." in said

    def test_found_where_no_runner_takes_what_is_due(self, page: Client) -> None:
        live = Saga.objects.get(outcome=None)
        address = list_of(Saga, waits="runner")
        for seconds, found in ((120, 1), (20, 0), (-60, 0)):
            due = timezone.now() - timedelta(seconds=seconds)
            Saga.objects.filter(pk=live.pk).update(due_at=due, lease_until=None)
            assert f"{found} saga" in words(page, address), seconds
        Saga.objects.filter(pk=live.pk).update(due_at=None)
        assert "0 sagas" in words(page, address)

    def test_found_where_nobody_knows_their_version(self, page: Client) -> None:
        unknown = Saga.objects.get(outcome=None)
        known = registry.definition(unknown.saga_type)
        another = Saga.objects.get(outcome="COMPENSATED")
        address = list_of(Saga, waits="version")

        # The sample's steps are no built-in saga's, and its runner has been gone for long.
        said = words(page, address)
        assert "1 saga " in said
        assert "a runner with the steps that EXECUTION version 1 had" in said
        for changed in ({"definition_version": 77}, {"saga_type": "NO_LONGER"}):
            with transaction.atomic():
                Saga.objects.filter(pk=unknown.pk).update(**changed)
                assert "1 saga " in words(page, address)
                transaction.set_rollback(True)
        # One of the same version is driven: some runner knows it, even if the admin does not.
        Saga.objects.filter(pk=another.pk).update(
            saga_type=unknown.saga_type,
            steps_hash=unknown.steps_hash,
            state="IN_PROGRESS",
            outcome=None,
            lease_owner="another",
            lease_until=timezone.now() + timedelta(minutes=1),
        )
        assert "0 sagas" in words(page, address)
        Saga.objects.filter(pk=another.pk).update(lease_until=timezone.now())
        assert "2 sagas" in words(page, address)
        Saga.objects.filter(saga_type="EXECUTION").update(steps_hash=steps_hash(known))
        assert "0 sagas" in words(page, address)

    def test_page_tells_what_it_waits_for_and_when(self, page: Client) -> None:
        live = Saga.objects.get(outcome=None)
        step = live.steps.get(step_name="execute_job")
        soon = timezone.now() + timedelta(minutes=5, seconds=30)
        live.steps.filter(pk=step.pk).update(
            state="PENDING", due_at=soon, retry_count=2, verifications=1, waits=3
        )
        Saga.objects.filter(pk=live.pk).update(due_at=soon, lease_until=None)

        said = words(page, page_of(live))

        assert "Waits for: a runner with the steps that EXECUTION version 1 had" in said
        assert "2 retries 3 waits 1 question" in said
        assert re.search(r"next try in 5.min 2\d.s", said)
        assert re.search(r"Next look: [\d-]+ [\d:]+ UTC \( ?in 5.min", said)

    def test_page_links_what_it_is_about_and_its_events(self, page: Client) -> None:
        saga = Saga.objects.get(outcome="COMPLETED")
        worker = saga.steps.get(step_name="register_worker").output_data["worker_id"]
        saga.steps.filter(step_name="publish_ready").update(output_data=["no", "object"])
        Saga.objects.filter(pk=saga.pk).update(metadata={"job_id": "nonsense", "provider_id": 7})

        text = page.get(page_of(saga)).text

        assert page_of(Worker(pk=worker)) in text
        query = f"aggregate_type=WORKER&aggregate_id={worker}"
        assert query in html.unescape(text)
        assert "Is about:" in words(page, page_of(saga))

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
