"""The overview: what goes on, for whoever may see it, and the lists behind the numbers."""

from __future__ import annotations

import html
import re
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.messages.storage.cookie import CookieStorage
from django.db import connection
from django.db.models import F
from django.db.models.functions import Now
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext, override_settings
from django.urls import reverse
from django.utils import timezone

from hodei.admin import schema_part
from jobs.models import Job, Lease, Provider, QueueEntry, Worker
from outbox.models import DeadLetter, Event, Relay
from sagas.models import Saga, SagaAuditEvent
from tests.admin.reading import words
from tests.admin.test_permissions import staff_with
from tests.admin.test_scale import multiply

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sample")]

OVERVIEW, INCIDENTS = "/admin/overview/", "/admin/incidents/"
_FIGURE = re.compile(
    r'<li class="hodei-figure hodei-(\w+)">\s*<a href="([^"]+)"><span>(.*?)</span> '
    r"<strong>(.*?)</strong></a>\s*(?:<p>(.*?)</p>)?",
    re.DOTALL,
)


def figures(page: Client) -> dict[tuple[str, str], tuple[str, str, str, str]]:
    """By panel and label: the value, the tone, the remark, and the address of the list."""
    found = {}
    for section in page.get(OVERVIEW).text.split("<section ")[1:]:
        title = re.search(r"<h2[^>]*>(.*?)</h2>", section)
        assert title is not None
        for tone, address, label, value, remark in _FIGURE.findall(section):
            found[title[1], label] = (value, tone, remark, html.unescape(address))
    return found


def asked(page: Client, address: str) -> list[str]:
    """The queries of a page, but for those of its user and their session, and for the savepoints
    that a test's transaction makes necessary."""
    page.get(address)  # what Django reads once per process, it has read after this
    with CaptureQueriesContext(connection) as captured:
        assert page.get(address).status_code == 200
    passing = ("SAVEPOINT", "RELEASE")
    found = [query["sql"] for query in captured if not query["sql"].startswith(passing)]
    return found[2:]


class TestNumbers:
    @pytest.mark.parametrize(
        ("panel", "label", "noun"),
        [
            ("Jobs", "Waiting", "queue entries"),
            ("Jobs", "Due later", "deferred entry"),
            ("Jobs", "Held by workers", "leases"),
            ("Jobs", "Failed", "jobs"),
            ("Jobs", "Wait for a person", "job"),
            ("Outbox", "Events pending", "events"),
            ("Outbox", "Aggregates held back", "troubled keys"),
            ("Outbox", "Dead letters open", "dead letters"),
            ("Sagas", "Pending", "sagas"),
            ("Sagas", "In progress", "saga"),
            ("Sagas", "Compensating", "sagas"),
            ("Sagas", "Due, not taken", "sagas"),
            ("Sagas", "Wait for a person", "saga"),
        ],
    )
    def test_is_that_of_the_list_it_leads_to(
        self, page: Client, panel: str, label: str, noun: str
    ) -> None:
        value, _, _, address = figures(page)[panel, label]

        assert f" {value} {noun} " in words(page, address)

    def test_every_one_leads_somewhere(self, page: Client) -> None:
        found = figures(page)

        assert len(found) == 17
        for _, _, _, address in found.values():
            assert page.get(address).status_code == 200, address

    def test_what_asks_for_a_person_says_so(self, page: Client) -> None:
        found = figures(page)

        assert found["Jobs", "Wait for a person"][:2] == ("1", "bad")
        assert found["Outbox", "Dead letters open"][:2] == ("4", "bad")
        assert found["Sagas", "Wait for a person"][:2] == ("1", "bad")
        assert found["Sagas", "Due, not taken"][:2] == ("0", "good")
        Job.objects.update(state="SUCCEEDED")
        DeadLetter.objects.update(resolved_at=Now())
        Saga.objects.update(state="COMPLETED")

        found = figures(page)

        assert found["Jobs", "Wait for a person"][:2] == ("0", "good")
        assert found["Outbox", "Dead letters open"][:2] == ("0", "good")
        assert found["Sagas", "Wait for a person"][:2] == ("0", "good")

    def test_nobody_works(self, page: Client) -> None:
        assert figures(page)["Outbox", "Relays alive"][:3] == (
            "0",
            "bad",
            "nobody delivers what waits: start outbox_relay",
        )
        Worker.objects.update(state="TERMINATED")
        assert figures(page)["Jobs", "Workers alive"][:3] == (
            "0",
            "bad",
            "nobody takes what waits: start jobs_worker",
        )

        QueueEntry.objects.all().delete()
        Event.objects.update(status="PUBLISHED", published_at=F("created_at"))

        assert figures(page)["Jobs", "Workers alive"][:3] == ("0", "quiet", "")
        assert figures(page)["Outbox", "Relays alive"][:3] == ("0", "quiet", "")

    def test_workers_and_their_leases(self, page: Client) -> None:
        alive = Worker.objects.filter(state__in=["READY", "BUSY", "DRAINING"])
        Worker.objects.update(last_heartbeat=Now())
        Lease.objects.update(expires_at=Now() + timedelta(minutes=1))
        count = str(alive.count())
        assert figures(page)["Jobs", "Workers alive"][:3] == (count, "good", "")
        assert figures(page)["Jobs", "Held by workers"][1] == "busy"

        first = alive.first()
        assert first is not None
        Worker.objects.filter(pk=first.pk).update(last_heartbeat=Now() - timedelta(minutes=2))
        Lease.objects.update(expires_at=Now() - timedelta(minutes=1))

        found = figures(page)
        silent = "1 silent for over a minute"
        assert found["Jobs", "Workers alive"][:3] == (count, "wait", silent)
        assert found["Jobs", "Held by workers"][1:3] == (
            "bad",
            f"{Lease.objects.count()} leases have run out",
        )

    def test_relays_and_their_destinations(self, page: Client) -> None:
        Relay.objects.create(destination="default", owner="one")
        Relay.objects.create(
            destination="default", owner="dead", seen_at=timezone.now() - timedelta(hours=1)
        )
        assert figures(page)["Outbox", "Relays alive"][:3] == ("1", "good", "")

        Relay.objects.create(destination="billing", owner="two", breaker="OPEN")

        assert figures(page)["Outbox", "Relays alive"][:3] == (
            "2",
            "bad",
            "1 cannot reach their destination",
        )

    def test_sagas_that_nobody_takes(self, page: Client) -> None:
        live = Saga.objects.filter(outcome=None)
        live.update(due_at=Now() - timedelta(minutes=3), lease_until=None)

        assert figures(page)["Sagas", "Due, not taken"][:3] == ("1", "bad", "the first for 3 min")

    def test_of_the_schema(self, page: Client) -> None:
        value, tone, remark, address = figures(page)["Schema", "Database default"]
        assert (value, tone) == ("Valid", "good")
        assert remark.startswith("Schema valid: ")
        assert address.endswith("/hodei_schema/migrationrun/status/?database=default")

        with connection.cursor() as cursor:
            cursor.execute(
                "DELETE FROM django_migrations WHERE app = 'sagas' AND name LIKE '0009%'"
            )

        value, tone, remark, _ = figures(page)["Schema", "Database default"]
        assert (value, tone) == ("INVALID", "bad")
        assert "pending" in remark

    def test_of_the_schema_while_other_apps_are_installed(self, page: Client) -> None:
        before = schema_part.verdicts()
        fewer = [app for app in settings.INSTALLED_APPS if app != "sagas"]

        with override_settings(INSTALLED_APPS=fewer):
            ((_, _, meanwhile),) = schema_part.verdicts()

        assert "unknown" in meanwhile
        assert "unknown" not in before[0][2]
        assert schema_part.verdicts() == before


class TestHour:
    def test_jobs_as_they_stand(self, page: Client) -> None:
        Job.objects.update(created_at=Now() - timedelta(minutes=5))

        said = words(page, OVERVIEW)

        number = Job.objects.count()
        assert f"by minute, and how they stand now {number} in the last hour;" in said
        failed = Job.objects.filter(state__in=["FAILED", "TIMEOUT"]).count()
        over = Job.objects.filter(state="SUCCEEDED").count()
        cancelled = Job.objects.filter(state="CANCELLED").count()
        rest = number - failed - over - cancelled
        assert re.search(rf"\d\d:\d\d {over} {rest} {failed} {cancelled} {number} ", said)

    def test_events_and_sagas(self, page: Client) -> None:
        assert "Events delivered, by minute None in the last hour." in words(page, OVERVIEW)
        Event.objects.filter(status="PUBLISHED").update(published_at=Now() - timedelta(minutes=9))
        then = timezone.now() - timedelta(minutes=7)
        SagaAuditEvent.objects.bulk_create(
            SagaAuditEvent(saga_id=uuid.uuid4(), event_type=f"SAGA_{how}", occurred_at=then)
            for how in ("COMPLETED", "COMPENSATED", "COMPENSATION_FAILED", "CANCELLED", "PAUSED")
        )

        said = words(page, OVERVIEW)

        published = Event.objects.filter(status="PUBLISHED").count()
        assert f"Events delivered, by minute {published} in the last hour;" in said
        assert "Sagas ended, by minute 4 in the last hour;" in said
        assert re.search(r"Together \d\d:\d\d 1 2 1 4 ", said)


class TestAccess:
    def test_strangers_are_sent_to_the_login(self, client: Client) -> None:
        for address in (OVERVIEW, f"{OVERVIEW}?figures", INCIDENTS):
            answer = client.get(address)
            assert answer.status_code == 302
            assert answer.headers["Location"].startswith(reverse("admin:login"))

    def test_staff_without_any_right_are_refused(self, client: Client) -> None:
        staff = staff_with(client)
        for address in (OVERVIEW, f"{OVERVIEW}?figures", INCIDENTS):
            assert staff.get(address).status_code == 403
        assert "hodei" not in staff.get("/admin/").text

    def test_one_sees_what_one_may_view_and_nothing_else_is_asked(self, client: Client) -> None:
        staff = staff_with(client, "view_job", "view_worker")

        with CaptureQueriesContext(connection) as captured:
            found = figures(staff)
            said = words(staff, INCIDENTS)

        assert list(found) == [
            ("Jobs", "Workers alive"),
            ("Jobs", "Failed"),
            ("Jobs", "Wait for a person"),
        ]
        assert "train-ranking" in said
        assert "gpu-rack" not in said
        assert "Looked for: jobs held." in said
        asked = " ".join(query["sql"] for query in captured)
        for table in ("outbox_", "sagas", "provider_configs", "django_migrations"):
            assert table not in asked

    def test_charts_need_the_right_too(self, client: Client) -> None:
        staff = staff_with(client, "view_queueentry", "view_relay")

        text = staff.get(OVERVIEW).text

        assert "hodei-hour" not in text
        assert list(figures(staff)) == [("Jobs", "Waiting"), ("Outbox", "Relays alive")]

    def test_the_right_to_change_shows_nothing(self, client: Client) -> None:
        assert staff_with(client, "change_job", "delete_saga").get(OVERVIEW).status_code == 403

    def test_they_can_only_be_read(self, page: Client) -> None:
        for address in (OVERVIEW, INCIDENTS):
            assert page.post(address).status_code == 405
            assert page.head(address).status_code == 200


class TestPages:
    @pytest.mark.parametrize(("address", "number"), [(OVERVIEW, 12), (INCIDENTS, 13)])
    def test_queries_do_not_grow(self, page: Client, address: str, number: int) -> None:
        few = asked(page, address)
        Relay.objects.create(destination="default", owner="one", breaker="OPEN")
        for model in (Job, DeadLetter, Event, Saga, Worker, Relay, Provider):
            multiply(model, 30)

        many = asked(page, address)

        assert len(many) == len(few) == number, few

    def test_of_apps_that_are_there_alone(self, page: Client, settings: Any) -> None:
        settings.ROOT_URLCONF = "tests.admin.jobs_alone"
        settings.INSTALLED_APPS = [
            one for one in settings.INSTALLED_APPS if one not in {"sagas", "outbox"}
        ]

        assert list(figures(page)) == [
            ("Schema", "Database default"),
            *(("Jobs", label) for label in ("Waiting", "Failed", "Wait for a person")),
        ]
        assert "Looked for: schema, jobs held." in words(page, INCIDENTS)

    def test_what_cannot_be_read_leaves_the_rest(self, page: Client) -> None:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE sagas RENAME TO sagas_gone")

        assert {panel for panel, _ in figures(page)} == {"Schema", "Jobs", "Outbox"}
        said = words(page, OVERVIEW)
        assert 'Not known It could not be read: relation "sagas" does not exist' in said
        said = words(page, INCIDENTS)
        assert "Sagas: not known" in said
        assert "SettlementFailed" in said

    def test_the_script_gets_the_figures_alone_and_takes_no_message(self, page: Client) -> None:
        request = RequestFactory().get("/")
        waiting = CookieStorage(request)
        waiting.add(messages.SUCCESS, "It was done.")
        answer = page.get("/admin/")
        waiting.update(answer)
        page.cookies["messages"] = answer.cookies["messages"].value

        text = page.get(f"{OVERVIEW}?figures").text

        assert "<html" not in text
        assert "As of " in text
        assert "It was done." not in text
        assert "It was done." in page.get(OVERVIEW).text

    def test_no_page_has_a_script_or_a_style_of_its_own(self, page: Client) -> None:
        for address in (OVERVIEW, f"{OVERVIEW}?figures", INCIDENTS):
            text = page.get(address).text
            assert "style=" not in text
            assert "<style" not in text
            assert re.findall(r"<script(?![^>]* src=)", text) == []
            assert re.findall(r"\son\w+=", text) == []


class TestIndex:
    def test_leads_to_both(self, page: Client) -> None:
        for address in ("/admin/", "/admin/jobs/", "/admin/outbox/", "/admin/sagas/"):
            text = page.get(address).text
            assert text.count(f'href="{OVERVIEW}"') == 1
            assert text.count(f'href="{INCIDENTS}"') == 1
            said = words(page, address)
            assert said.index("Overview : what waits") < said.index("Model name")

    def test_keeps_the_index_of_the_project(
        self, page: Client, settings: Any, tmp_path: Path
    ) -> None:
        (tmp_path / "admin").mkdir()
        own = '{% extends "admin/base_site.html" %}{% block content %}<p>Ours.</p>{% endblock %}'
        (tmp_path / "admin" / "index.html").write_text(own)
        settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]

        said = words(page, "/admin/")

        assert said.index("Overview") < said.index("Ours.")

    def test_where_a_project_has_not_asked_for_the_pages(self, page: Client, settings: Any) -> None:
        settings.ROOT_URLCONF = "tests.schema.test_admin.backoffice"
        assert admin.site.index_template == "hodei/admin/index.html"

        assert "overview" not in page.get("/admin/").text
