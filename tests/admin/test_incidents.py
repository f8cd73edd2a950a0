"""The incidents: everything that waits for a person, in one list."""

from __future__ import annotations

import html
import re
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from django.utils import timezone

from hodei.admin.parts import SHOWN
from jobs.models import Job, Provider
from outbox.models import DeadLetter, Relay, TroubledKey
from sagas import registry
from sagas.definition import steps_hash
from sagas.models import Saga, SagaAuditEvent
from tests.admin.pages import list_of, page_of
from tests.admin.reading import words
from tests.admin.test_scale import multiply

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sample")]

INCIDENTS = "/admin/incidents/"


def cases(page: Client, kind: str) -> list[tuple[str, str, str]]:
    """Of one kind: the name, why, and the address where one decides; the last may be "more"."""
    text = page.get(INCIDENTS).text
    slug = kind.lower().replace(" ", "-")
    if f'id="{slug}"' not in text:
        return []
    body = text.partition(f'id="{slug}"')[2].partition("</tbody>")[0]
    found = []
    for row in body.split("<tr ")[2:]:
        link = re.search(r'<a href="([^"]*)">(.*?)</a>', row)
        assert link is not None
        _, _, why = row.partition('<td role="cell">')
        found.append(tuple(map(html.unescape, (link[2], why.partition("</td>")[0], link[1]))))
    return found


def settle_all() -> None:
    Job.objects.update(state="SUCCEEDED")
    Provider.objects.update(status="ACTIVE")
    DeadLetter.objects.update(resolved_at=Now())
    Saga.objects.update(state="COMPLETED", incident=None)
    TroubledKey.objects.all().delete()


def test_nothing_waits(page: Client) -> None:
    settle_all()

    said = words(page, INCIDENTS)

    assert "Nothing waits for a person. Looked for: schema, jobs held, providers," in said
    assert "What waits for a person" not in said


def test_jobs_that_are_held(page: Client) -> None:
    job = Job.objects.get(state="MANUAL_INTERVENTION_REQUIRED")

    assert cases(page, "Jobs held") == [
        (job.name, "Held, from queue gpu: release or cancel it.", page_of(job))
    ]
    Job.objects.filter(pk=job.pk).update(name="")
    assert cases(page, "Jobs held")[0][0] == str(job.pk)


@pytest.mark.parametrize("status", ["ERROR", "UNHEALTHY", "DEGRADED"])
def test_providers_that_ail(page: Client, status: str) -> None:
    for other in ("ACTIVE", "DISABLED", "MAINTENANCE", "OVERLOADED", "INACTIVE"):
        Provider.objects.update(status=other)
        assert cases(page, "Providers") == []
    one = Provider.objects.get(name="k8s-eu-west")
    Provider.objects.filter(pk=one.pk).update(status=status)

    (found,) = cases(page, "Providers")

    assert found == ("k8s-eu-west", f"{status.capitalize()}: it makes no workers.", page_of(one))


def test_dead_letters_the_oldest_first(page: Client) -> None:
    letters = DeadLetter.objects.filter(resolved_at=None).order_by("moved_at", "pk")

    found = cases(page, "Dead letters")

    assert [(name, address) for name, _, address in found] == [
        (letter.event_type, page_of(letter)) for letter in letters
    ]
    assert found[0][1].startswith("HTTP 422 from https://billing.example")


def test_aggregates_behind_them(page: Client) -> None:
    keys = TroubledKey.objects.filter(state="PARKED")

    found = cases(page, "Aggregates held back")

    assert {address for _, _, address in found} == {page_of(key) for key in keys}
    assert len(found) == keys.count() == 4
    first = keys.order_by("pk").first()
    assert first is not None
    name = f"{first.aggregate_type} {str(first.aggregate_id)[:8]}"
    assert found[0][:2] == (name, "Its events to default wait behind a dead letter.")


def test_destinations_that_do_not_answer(page: Client) -> None:
    since = timezone.now() - timedelta(minutes=4)
    down = Relay.objects.create(
        destination="billing",
        owner="relay-2",
        breaker="OPEN",
        breaker_since=since,
        breaker_error="no route",
    )
    gone = timezone.now() - timedelta(minutes=1)
    Relay.objects.create(destination="billing", owner="dead", breaker="OPEN", seen_at=gone)
    Relay.objects.create(destination="default", owner="relay-1")

    assert cases(page, "Destinations that do not answer") == [
        ("billing, for relay-2", "no route", page_of(down))
    ]


class TestSagas:
    def test_what_could_not_be_undone(self, page: Client) -> None:
        saga = Saga.objects.get(outcome="COMPENSATION_FAILED")

        (found,) = cases(page, "Sagas")

        assert found[0] == f"RECOVERY {str(saga.pk)[:8]}"
        assert found[2] == page_of(saga)

    @pytest.mark.parametrize("has_deadline", [True, False])
    def test_a_live_one_with_an_incident(self, page: Client, has_deadline: bool) -> None:
        live = Saga.objects.get(outcome=None)
        Saga.objects.filter(pk=live.pk).update(
            incident="Nobody knows whether it was done.",
            updated_at=datetime(2026, 1, 1, tzinfo=UTC),
            lease_until=None,
            due_at=timezone.now() + timedelta(hours=1) if has_deadline else None,
        )
        if has_deadline:
            # It is due at its deadline; what a runner told of it leads there.
            assert len(cases(page, "Sagas")) == 1
            SagaAuditEvent.objects.create(saga=live, event_type="SAGA_WAITS_FOR_A_PERSON")

        found = cases(page, "Sagas")

        # It has waited longer than the other one.
        why = "Nobody knows whether it was done."
        assert found[0] == (f"EXECUTION {str(live.pk)[:8]}", why, page_of(live))
        assert len(found) == 2

    def test_one_that_went_on_waits_no_longer(self, page: Client) -> None:
        live = Saga.objects.get(outcome=None)
        SagaAuditEvent.objects.create(saga=live, event_type="SAGA_WAITS_FOR_A_PERSON")

        assert len(cases(page, "Sagas")) == 1

    def test_of_a_version_that_nobody_knows(self, page: Client) -> None:
        live = Saga.objects.get(outcome=None)
        kind = "Sagas of an unknown version"
        Saga.objects.filter(pk=live.pk).update(
            definition_version=77, lease_until=None, due_at=Now() - timedelta(seconds=30)
        )
        assert cases(page, kind) == []
        Saga.objects.filter(pk=live.pk).update(due_at=Now() - timedelta(minutes=2))

        assert cases(page, kind) == [
            (
                f"EXECUTION {str(live.pk)[:8]}",
                "Nobody knows version 77 as it was when it was started.",
                page_of(live),
            )
        ]
        # One of the same version is driven: some runner knows it.
        other = Saga.objects.filter(outcome="COMPENSATED")
        soon = timezone.now() + timedelta(seconds=30)
        same = {"saga_type": "EXECUTION", "definition_version": 77, "steps_hash": live.steps_hash}
        driven = {"state": "IN_PROGRESS", "outcome": None, "due_at": soon, "lease_until": soon}
        other.update(**same, **driven)
        assert cases(page, kind) == []
        Saga.objects.filter(lease_until=soon).update(lease_until=None)
        assert len(cases(page, kind)) == 1
        known = registry.definition("EXECUTION")
        Saga.objects.filter(pk=live.pk).update(
            definition_version=known.version, steps_hash=steps_hash(known)
        )
        assert cases(page, kind) == []


def test_a_schema_that_is_not_as_this_code_needs_it(page: Client) -> None:
    assert cases(page, "Schema") == []
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'sagas'")

    (found,) = cases(page, "Schema")

    assert found[0] == "default"
    assert "Schema INVALID" in found[1]
    assert found[2].endswith("/status/?database=default")


def test_of_many_the_first_and_how_many_more(page: Client) -> None:
    Job.objects.update(state="MANUAL_INTERVENTION_REQUIRED")
    multiply(Job, 30)
    number = Job.objects.count()
    oldest = Job.objects.order_by("created_at", "pk").values_list("name", flat=True)

    found = cases(page, "Jobs held")

    assert [name for name, _, _ in found[:SHOWN]] == list(oldest[:SHOWN])
    more = list_of(Job, state__exact="MANUAL_INTERVENTION_REQUIRED")
    assert (found[SHOWN][0], found[SHOWN][2]) == (f"And {number - SHOWN} more: jobs held", more)
    assert len(found) == SHOWN + 1
    assert f" {number} jobs " in words(page, more)


def test_all_that_lead_to_lists_do(page: Client) -> None:
    """Where all of it is, the rest can be found."""
    for model in (Job, Provider, DeadLetter):
        multiply(model, SHOWN + 1)
    for key in TroubledKey.objects.filter(state="PARKED")[:1]:
        for _ in range(SHOWN):
            key.pk, key.aggregate_id = None, uuid.uuid4()
            key.save(force_insert=True)
    multiply(Saga, SHOWN + 1)
    Saga.objects.update(state="FAILED")
    Job.objects.update(state="MANUAL_INTERVENTION_REQUIRED")
    Provider.objects.update(status="ERROR")
    DeadLetter.objects.update(resolved_at=None)

    for kind in ("Jobs held", "Providers", "Dead letters", "Aggregates held back", "Sagas"):
        name, _, address = cases(page, kind)[-1]
        more = re.search(r"And (\d+) more", name)
        assert more is not None, kind
        number = int(more[1]) + SHOWN
        if kind != "Providers":  # their list has no filter for three states
            assert f" {number} " in words(page, address), kind


def test_hostile_text_stays_text(page: Client) -> None:
    script = "<script>window.seen=1</script>"
    Job.objects.filter(state="MANUAL_INTERVENTION_REQUIRED").update(name=script, queue=script)
    DeadLetter.objects.update(event_type=script[:50], error_message=f"{script} password=hunter22")
    Saga.objects.filter(state="FAILED").update(saga_type=script, incident=script)
    Provider.objects.filter(status="DEGRADED").update(name=script)

    text = page.get(INCIDENTS).text

    assert script not in text
    assert "hunter22" not in text
    assert text.count("&lt;script&gt;") >= 8
