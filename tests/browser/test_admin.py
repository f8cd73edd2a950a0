from __future__ import annotations

import struct
import zlib
from typing import Any

import django
import pytest
from django.apps import apps
from django.test import Client
from django.urls import reverse

from jobs.models import LogGarbage
from outbox.models import DeadLetter
from sagas.models import Saga
from tests.admin.pages import list_of, page_of
from tests.browser.conftest import Visit, visiting
from tests.browser.looks import schemes

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


#: How light a badge's text is, and what is behind it.
SHADES = """
(badge) => {
    const light = (colour) => {
        const [r, g, b] = colour.match(/[0-9.]+/g).map(Number).map((part) => {
            const share = part / 255;
            return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    let ground = badge;
    const ofPage = (node) => getComputedStyle(node).backgroundColor;
    while (ofPage(ground) === "rgba(0, 0, 0, 0)") ground = ground.parentElement;
    return [light(getComputedStyle(badge).color), light(ofPage(ground))];
}
"""


def colours(png: bytes) -> int:
    """How many different rows of pixels a picture has: an empty page has one or two."""
    assert png.startswith(b"\x89PNG")
    place, data, height = 8, b"", 0
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        kind, body = png[place + 4 : place + 8], png[place + 8 : place + 8 + length]
        if kind == b"IHDR":
            height = struct.unpack(">I", body[4:8])[0]
        if kind == b"IDAT":
            data += body
        place += 12 + length
    pixels = zlib.decompress(data)
    width = len(pixels) // height
    return len({pixels[row * width : (row + 1) * width] for row in range(height)})


def test_index_lists_every_model(visit: Visit) -> None:
    page = visit.open(reverse("admin:index"))

    for app in ("jobs", "outbox", "sagas"):
        for model in apps.get_app_config(app).get_models():
            assert page.locator(f"#content-main .model-{model._meta.model_name}").count() == 1
    assert page.locator("#content-main .app-jobs .addlink").count() == 0
    assert colours(page.screenshot()) > 50


def test_from_the_list_of_dead_letters_to_one_and_to_its_event(visit: Visit) -> None:
    page = visit.open(list_of(DeadLetter, state="open"))
    assert page.locator("#result_list tbody tr").count() == 4
    assert colours(page.screenshot()) > 50

    page.locator("#result_list").get_by_role("link", name="SettlementFailed").click()
    assert page.locator(".field-error pre").inner_text().startswith("HTTP 422")
    assert "[redacted]" in page.locator(".field-payload_block pre").inner_text()
    assert page.locator("input[name=_save], .deletelink").count() == 0
    assert colours(page.screenshot()) > 50

    page.locator(".field-event a").click()
    assert "Failed" in page.locator(".field-event_state").inner_text()


def test_saga_shows_its_steps_and_opens_their_data(visit: Visit) -> None:
    page = visit.open(page_of(Saga.objects.get(outcome="COMPENSATED")))

    rows = page.locator(".field-steps_panel tbody tr")
    assert rows.count() == 4
    given = rows.nth(1).locator("details").first
    assert not given.locator("pre").is_visible()
    given.locator("summary").click()
    assert given.locator("pre").is_visible()
    assert "gpu-rack" in given.inner_text()
    assert colours(page.screenshot()) > 50


def test_search_by_keyboard(visit: Visit) -> None:
    letter = DeadLetter.objects.get(event_type="SettlementFailed")
    page = visit.open(list_of(DeadLetter))

    page.locator("#searchbar").focus()
    page.keyboard.type(str(letter.aggregate_id))
    with page.expect_navigation():
        page.keyboard.press("Enter")

    assert page.locator("#result_list tbody tr").count() == 1


def test_badges_are_readable(visit: Visit) -> None:
    page = visit.open(list_of(DeadLetter))

    for scheme in schemes(page):
        darker, lighter = sorted(page.locator(".hodei-state").first.evaluate(SHADES))
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, scheme


def test_narrow_screens_do_not_scroll_sideways(visit: Visit) -> None:
    visit.page.set_viewport_size({"width": 390, "height": 800})
    uri = f"file:///var/lib/hodei/logs/{'0123456789abcdef' * 8}.log"
    log = LogGarbage.objects.create(storage_uri=uri)
    for row in (DeadLetter.objects.first(), Saga.objects.first(), log):
        page = visit.open(page_of(row))

        wide = page.evaluate("document.documentElement.scrollWidth")
        hidden = page.locator(".hodei-facts .form-row").evaluate_all(
            "all => all.filter(row => row.scrollWidth > row.clientWidth).map(row => row.className)"
        )

        assert wide <= 390
        assert hidden == []


def test_pages_are_served_with_a_policy_that_the_browser_enforces(
    browser: Any, live_server: Any, admin_client: Client
) -> None:
    """Where Django can send one, which is from 6.0 on; the browser itself enforces none."""
    sent = django.VERSION >= (6, 0)
    with visiting(browser, live_server.url, admin_client) as visit:
        page = visit.open(list_of(DeadLetter))

        page.evaluate("document.body.setAttribute('onclick', 'window.seen = 1')")
        page.locator("body").click(position={"x": 5, "y": 5})

        assert (page.evaluate("window.seen") is None) is sent
        assert any("Content Security Policy" in one for one in visit.complaints) is sent


def test_hostile_text_runs_nothing(visit: Visit) -> None:
    letter = DeadLetter.objects.get(event_type="SettlementFailed")
    script = "<img src=x onerror='window.seen=1'><script>window.seen=1</script>"
    DeadLetter.objects.filter(pk=letter.pk).update(
        payload={script: script}, error_message=script, event_type=script[:50]
    )

    for address in (list_of(DeadLetter), page_of(letter)):
        page = visit.open(address)
        assert page.evaluate("window.seen") is None
