"""What a page is asked about its looks: scripts for ``page.evaluate``, and axe."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Literal

import pytest
from playwright.sync_api import Page

#: The contrast of every text on the page against what is behind it, where it is less than 4.5.
FAINT = """
() => {
    const parts = (colour) => colour.match(/[0-9.]+/g).map(Number);
    const light = (colour) => {
        const [r, g, b] = parts(colour).map((part) => {
            const share = part / 255;
            return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ofPage = (node) => getComputedStyle(node).backgroundColor;
    const faint = [];
    for (const node of document.querySelectorAll("#content *")) {
        const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
        if (!own || !node.checkVisibility()) continue;
        let ground = node;
        while (ofPage(ground) === "rgba(0, 0, 0, 0)") ground = ground.parentElement;
        const [dark, bright] = [light(getComputedStyle(node).color), light(ofPage(ground))].sort(
            (a, b) => a - b);
        const contrast = (bright + 0.05) / (dark + 0.05);
        if (contrast < 4.5) faint.push(`${node.className} ${node.innerText}: ${contrast}`);
    }
    return faint;
}
"""
#: What a screen reader would stumble over.
UNNAMED = """
() => [
    ...[...document.querySelectorAll("#content :is(input:not([type=hidden]), select)")]
        .filter((field) => !field.labels.length),
    ...[...document.querySelectorAll("#content table")].filter((table) => !table.caption),
    ...[...document.querySelectorAll("#content a, #content button, #content summary")]
        .filter((one) => !one.textContent.trim()),
].map((one) => one.outerHTML)
"""
#: What axe looks for: WCAG 2.2, levels A and AA.
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}


#: On a phone and on a desk.
WIDTHS = (390, 1280)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


def schemes(page: Page) -> Iterator[str]:
    """A page that is open, by day and by night. Colours on their way from one to the other have
    arrived."""
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        page.evaluate("document.getAnimations().forEach((one) => one.finish())")
        yield scheme


def looks(page: Page) -> Iterator[int]:
    """The same on a phone and on a desk: its width, each time. Nothing in it asks for these but its
    style sheets."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        for _ in schemes(page):
            yield width


def is_readable(page: Page, width: int) -> None:
    """Fail where it scrolls sideways, is too faint, or asks for what has no name."""
    assert page.evaluate("document.documentElement.scrollWidth") <= width, page.url
    assert page.evaluate(FAINT) == [], page.url
    assert page.evaluate(UNNAMED) == [], page.url


def barriers(page: Page) -> list[str]:
    """What keeps people from using the page, as axe finds it, with where it is."""
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ImportError:
        if "browser" in os.environ.get("HODEI_REQUIRE", "").split(","):
            raise
        pytest.skip("axe-playwright-python is not installed")
    found = Axe().run(page, context="#container", options=RULES).response
    return [f"{one['id']}: {node['html']}" for one in found["violations"] for node in one["nodes"]]
