"""A person decides about all that match a filter, by keyboard, and can read what is asked."""

from __future__ import annotations

import pytest

from hodei.admin import sweeping
from jobs.models import Job
from tests.admin.pages import list_of
from tests.browser.conftest import Visit
from tests.browser.looks import UNNAMED, is_readable, looks

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

WHY = "the customer has called"
PENDING = {"state__exact": "PENDING"}


def test_by_keyboard_from_the_list_to_the_end(
    visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "MOST_PER_REQUEST", 3)
    number = Job.objects.filter(state="PENDING").count()
    assert 3 < number <= 6
    page = visit.open(list_of(Job, **PENDING))

    page.locator(".hodei-sweeps summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert f"Cancel: {number} jobs" in page.locator("#content h1").inner_text()
    page.get_by_label("At most, a second").focus()
    page.keyboard.press("Tab")
    page.keyboard.type(WHY)
    page.keyboard.press("Tab")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert "3 cancelled" in page.get_by_role("status").inner_text()
    assert page.get_by_label("Reason").input_value() == WHY
    page.get_by_role("button", name=f"Go on with {number - 3}").focus()
    with page.expect_navigation():
        page.keyboard.press("Enter")

    assert page.locator(".messagelist").inner_text() == f"{number} jobs cancelled."
    assert page.url.endswith("?state__exact=PENDING")
    assert not Job.objects.filter(state="PENDING").exists()


def test_what_is_asked_can_be_read(visit: Visit) -> None:
    page = visit.open(list_of(Job, **PENDING))
    page.locator(".hodei-sweeps summary").click()
    for width in looks(page):
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(UNNAMED.replace("#content", ".hodei-sweeps")) == []
    page.locator(".hodei-sweeps").get_by_role("link", name="Change priority").click()

    assert "state: Pending" in page.locator(".hodei-matching").inner_text()
    for width in looks(page):
        is_readable(page, width)
