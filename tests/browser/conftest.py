"""A headless Chromium on a live server that serves the sample."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.conf import settings
from django.db import connections
from django.test import Client, override_settings
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from hodei.sample import load_sample
from tests.samples import copied_out, copy_in

# Playwright keeps a loop running in the tests' thread, which Django takes for asynchronous code.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="session", autouse=True)
def plain_http() -> Iterator[None]:
    """The live server reads these once, when it starts."""
    with override_settings(
        SECURE_SSL_REDIRECT=False,
        SESSION_COOKIE_SECURE=False,
        CSRF_COOKIE_SECURE=False,
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    ):
        yield


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for the tests of a file; with its end Django is in plain synchronous code again.

    While Playwright's loop runs, Django keeps connections apart from those of other tests, and
    nobody else would close them.
    """
    # The shell takes less than half of what the whole browser takes.
    chromium = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if chromium is None:
        missing = "there is neither chromium-headless-shell nor chromium on PATH"
        if "browser" in os.environ.get("HODEI_REQUIRE", "").split(","):
            pytest.fail(f"{missing}, and HODEI_REQUIRE asks for the browser tests")
        pytest.skip(missing)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield started
        started.close()
        connections.close_all()


@dataclass
class Visit:
    """A page of the admin, and what the browser complained about."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str) -> Page:
        answer = self.page.goto(f"{self.url}{path}")
        assert answer is not None
        assert answer.status == 200, f"{path} answers {answer.status}"
        return self.page

    def listen(self) -> None:
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("requestfailed", self._failed)

    def _failed(self, request: Request) -> None:
        # A second click gives up the page that the first one asked for.
        if not (request.is_navigation_request() and request.failure == "net::ERR_ABORTED"):
            self.complaints.append(request.url)

    def _console(self, message: ConsoleMessage) -> None:
        address = message.location.get("url", "")
        if message.type in {"error", "warning"} and not address.endswith("/favicon.ico"):
            self.complaints.append(f"{message.text} ({address})")


@pytest.fixture(scope="module")
def tables() -> dict[str, bytes]:
    """The rows of the sample, once the first test of a file has loaded it."""
    return {}


@pytest.fixture
def visit(
    browser: Browser,
    live_server: Any,
    transactional_db: None,
    admin_client: Client,
    tables: dict[str, bytes],
) -> Iterator[Visit]:
    """The sample as a superuser sees it. Nothing may be complained about by the end."""
    if tables:
        copy_in(tables)
    else:
        loaded = load_sample()
        assert loaded is not None
        tables |= copied_out(loaded.rows)
    with visiting(browser, live_server.url, admin_client) as visit:
        yield visit
        assert visit.complaints == []


@contextmanager
def visiting(browser: Browser, url: str, client: Client) -> Iterator[Visit]:
    """A browser window that has the client's session."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    name = settings.SESSION_COOKIE_NAME
    context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": url}])
    visit = Visit(context.new_page(), url)
    visit.listen()
    yield visit
    context.close()
