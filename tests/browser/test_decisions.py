"""A person decides: from a list or a page to the reason, and to what came of it."""

from __future__ import annotations

import pytest
from django.db.models import Model
from playwright.sync_api import Page, expect

from jobs.models import Job, Provider, Worker
from outbox.models import DeadLetter
from sagas.models import Saga
from tests.admin.pages import admins, list_of, page_of
from tests.browser.conftest import Visit
from tests.browser.looks import WIDTHS, is_readable, looks

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

WHY = "the customer has called"


def choose(page: Page, label: str) -> None:
    page.locator(".hodei-acts").get_by_role("link", name=label, exact=True).click()


def give_reason(page: Page) -> None:
    page.get_by_label("Reason").fill(WHY)
    page.locator(".hodei-reason button").click()


def said(page: Page) -> str:
    return page.locator(".messagelist").inner_text()


def test_jobs_are_cancelled_from_the_list(visit: Visit) -> None:
    page = visit.open(list_of(Job))
    for name in ("thumbnail 99120", "nightly-report", "settlement 2290"):
        page.locator("#result_list tr", has_text=name).locator("input[type=checkbox]").check()
    page.locator("select[name=action]").select_option("cancel")
    page.locator("button[name=index]").click()

    assert "Cancel: 2 of 3 jobs" in page.locator("#content").inner_text()
    assert page.locator(".hodei-chosen tbody tr").count() == 3
    give_reason(page)

    assert said(page) == "2 jobs cancelled."
    row = page.locator("#result_list tr", has_text="thumbnail 99120")
    assert "Cancelled" in row.inner_text()


def test_a_job_is_given_another_priority_by_keyboard(visit: Visit) -> None:
    page = visit.open(page_of(Job.objects.get(name="thumbnail 99120")))

    page.locator(".hodei-acts a", has_text="Change priority").focus()
    with page.expect_navigation():
        page.keyboard.press("Enter")
    page.get_by_label("Priority").focus()
    page.keyboard.type("42")
    page.keyboard.press("Tab")
    page.keyboard.type(WHY)
    page.keyboard.press("Tab")
    with page.expect_navigation():
        page.keyboard.press("Enter")

    assert "It has the priority 42." in said(page)
    assert page.locator(".field-priority .readonly").inner_text() == "42"


def test_a_parked_step_is_marked_as_handled(visit: Visit) -> None:
    saga = Saga.objects.get(outcome="COMPENSATION_FAILED")
    page = visit.open(page_of(saga))
    row = page.locator(".field-steps_panel tbody tr", has_text="Parked")
    row.get_by_role("link", name="Mark handled").click()

    assert "provision_replacement" in page.locator("#content h1").inner_text()
    page.locator(".hodei-reason button").click()
    # The browser itself asks for the reason; nothing was sent.
    expect(page.get_by_label("Reason")).to_be_focused()
    give_reason(page)

    assert "provision_replacement was undone by hand" in said(page).lower()
    step = page.locator(".field-steps_panel tbody tr", has_text="provision_replacement")
    assert "Compensated" in step.inner_text()
    assert "Mark handled" not in page.locator(".field-steps_panel").inner_text()
    assert "COMPENSATION_HANDLED" in page.locator(".field-audit_panel").inner_text()


def test_a_lost_race_is_told(visit: Visit) -> None:
    saga = Saga.objects.get(outcome="COMPENSATION_FAILED")
    page = visit.open(page_of(saga))
    choose(page, "Retry compensation")
    saga.steps.update(state="COMPENSATED")

    give_reason(page)

    assert "No step of the saga is PARKED." in said(page)


@pytest.mark.parametrize(
    ("model", "found", "label", "told", "state"),
    [
        (DeadLetter, {"event_type": "SettlementFailed"}, "Resolve", "is not sent", "Resolved"),
        (Provider, {"name": "k8s-eu-west"}, "Disable", "It is DISABLED now.", "Disabled"),
        (Worker, {"provider_resource_id": "eu-west-7f9c"}, "Drain", "It finishes", "Draining"),
    ],
    ids=["dead letter", "provider", "worker"],
)
def test_one_is_decided_about_on_its_page(
    visit: Visit, model: type[Model], found: dict[str, str], label: str, told: str, state: str
) -> None:
    page = visit.open(page_of(model._default_manager.get(**found)))
    choose(page, label)
    give_reason(page)

    assert told in said(page)
    assert page.locator(".hodei-state").first.inner_text() == state


def test_back_changes_nothing(visit: Visit) -> None:
    page = visit.open(page_of(Job.objects.get(name="thumbnail 99120")))
    choose(page, "Hold")
    page.get_by_role("link", name="Back, change nothing").click()

    assert page.locator(".messagelist").count() == 0
    assert "Pending" in page.locator(".field-job_state").inner_text()


def test_lists_are_as_wide_as_their_frames(visit: Visit) -> None:
    for one in admins():
        page = visit.open(list_of(one.model))
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            if page.locator("#result_list").count():
                wide, frame = page.locator(".results").evaluate(
                    "at => [at.scrollWidth, at.clientWidth]"
                )
                assert wide <= frame, (one.opts.label, width)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, one.opts.label


def test_the_page_that_asks_can_be_read(visit: Visit) -> None:
    page = visit.open(page_of(Job.objects.get(name="thumbnail 99120")))
    choose(page, "Change priority")
    page.get_by_label("Reason").fill(WHY)
    page.get_by_label("Priority").fill("101")
    page.locator(".hodei-reason").evaluate("form => { form.noValidate = true; }")
    page.locator(".hodei-reason button").click()

    assert "less than or equal to 100" in page.locator(".errorlist").inner_text()
    assert page.get_by_label("Reason").input_value() == WHY
    for width in looks(page):
        is_readable(page, width)
