"""The overview and the incidents as one sees and uses them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.db.models.functions import Now
from django.urls import reverse
from playwright.sync_api import Browser, Locator, Page, expect

from jobs.models import Job
from outbox.models import DeadLetter, Event
from sagas.models import Saga
from tests.browser.conftest import Visit
from tests.browser.looks import barriers, is_readable, looks
from tests.browser.test_admin import colours

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

OVERVIEW, INCIDENTS = reverse("hodei-overview"), reverse("hodei-incidents")
TURN = 11_000


def figure(page: Page, label: str) -> Locator:
    return page.locator(".hodei-figure", has_text=label).first.locator("strong")


def an_hour() -> None:
    """Something in every chart."""
    Job.objects.update(created_at=Now() - timedelta(minutes=4))
    Event.objects.filter(status="PUBLISHED").update(published_at=Now() - timedelta(minutes=7))


@pytest.fixture
def timed(visit: Visit) -> Page:
    """The overview, on a clock that the test moves."""
    visit.page.clock.install()
    return visit.open(OVERVIEW)


def test_from_the_index_to_a_number_and_the_list_behind_it(visit: Visit) -> None:
    page = visit.open(reverse("admin:index"))
    page.locator("#content").get_by_role("link", name="Overview").click()
    expect(page.locator("#content h1")).to_have_text("Overview")
    assert colours(page.screenshot()) > 50

    page.get_by_role("link", name="Dead letters open 4").click()

    expect(page.locator("#result_list tbody tr")).to_have_count(4)


def test_from_an_incident_to_its_decision_by_keyboard(visit: Visit) -> None:
    page = visit.open(INCIDENTS)
    page.get_by_role("link", name="Incidents", exact=True).focus()
    for _ in range(30):
        page.keyboard.press("Tab")
        if "SettlementFailed" in page.evaluate("document.activeElement.innerText"):
            break
    with page.expect_navigation():
        page.keyboard.press("Enter")

    expect(page.locator(".hodei-acts a", has_text="Requeue")).to_have_count(1)
    page.go_back()
    page.locator(".hodei-jump a", has_text="Sagas").press("Enter")
    expect(page.locator("#sagas")).to_be_in_viewport()


class TestLookingAgain:
    def test_numbers_change_by_themselves(self, timed: Page) -> None:
        expect(figure(timed, "Dead letters open")).to_have_text("4")
        DeadLetter.objects.filter(event_type="SettlementFailed").update(resolved_at=Now())

        timed.clock.run_for(TURN)

        expect(figure(timed, "Dead letters open")).to_have_text("3")

    def test_until_somebody_pauses_it(self, timed: Page) -> None:
        timed.get_by_role("button", name="Pause").click()
        expect(timed.locator("#hodei-looking")).to_have_text("Paused.")
        asked: list[str] = []
        timed.on("request", lambda request: asked.append(request.url))
        DeadLetter.objects.filter(event_type="SettlementFailed").update(resolved_at=Now())
        timed.clock.run_for(3 * TURN)
        assert asked == []

        timed.get_by_role("button", name="Go on").press("Enter")

        expect(figure(timed, "Dead letters open")).to_have_text("3")
        expect(timed.get_by_role("button", name="Pause")).to_be_focused()

    def test_and_not_under_the_hands_of_who_reads(self, timed: Page) -> None:
        link = timed.get_by_role("link", name="Dead letters open 4")
        link.focus()
        DeadLetter.objects.filter(event_type="SettlementFailed").update(resolved_at=Now())
        timed.clock.run_for(TURN)
        expect(link).to_be_focused()

        timed.get_by_role("button", name="Pause").focus()
        timed.clock.run_for(TURN)

        expect(figure(timed, "Dead letters open")).to_have_text("3")

    def test_a_server_that_is_gone_is_told_and_tried_again(self, timed: Page, visit: Visit) -> None:
        timed.route("**/*figures*", lambda route: route.fulfill(status=502, body=""))
        timed.clock.run_for(TURN)
        words = timed.locator("#hodei-looking")
        expect(words).to_have_text(
            "Could not look again: the server answers 502. It goes on trying."
        )
        expect(figure(timed, "Dead letters open")).to_have_text("4")

        timed.unroute("**/*figures*")
        timed.clock.run_for(TURN)

        expect(words).to_have_text("Looks again every 10 seconds.")
        assert all("?figures" in one for one in visit.complaints)
        visit.complaints.clear()

    def test_whoever_is_logged_out_is_told(self, timed: Page) -> None:
        Session.objects.all().delete()

        timed.clock.run_for(TURN)

        expect(timed.locator("#hodei-looking")).to_contain_text("You are logged out")
        expect(timed.get_by_role("button", name="Pause")).to_be_hidden()
        expect(figure(timed, "Dead letters open")).to_have_text("4")


def test_without_javascript(visit: Visit, browser: Browser) -> None:
    an_hour()
    context = browser.new_context(
        java_script_enabled=False, storage_state=visit.page.context.storage_state()
    )
    page = context.new_page()

    page.goto(visit.url + OVERVIEW)

    expect(figure(page, "Dead letters open")).to_have_text("4")
    expect(page.locator(".hodei-looks")).to_be_hidden()
    picture = page.get_by_role("img", name="Jobs enqueued, by minute")
    box = picture.bounding_box()
    assert box is not None
    assert box["width"] > 300
    assert box["height"] > 50
    hour = page.locator(".hodei-hour", has=picture)
    hour.locator("summary").click()
    assert hour.locator("tbody tr").count() >= 1
    context.close()


@pytest.mark.parametrize("address", [OVERVIEW, INCIDENTS])
def test_can_be_read_and_used_by_everybody(visit: Visit, address: str) -> None:
    an_hour()
    Saga.objects.filter(state="FAILED").update(incident="what is left behind " + "x" * 300)
    page = visit.open(address)
    for summary in page.locator(".hodei-hour summary").all():
        summary.click()
    for width in looks(page):
        is_readable(page, width)
        assert barriers(page) == []
        assert page.get_by_role("alert").count() == 0
