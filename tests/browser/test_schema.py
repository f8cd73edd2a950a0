"""The schema's pages as one sees and uses them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DataError, connections
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client, override_settings
from django.urls import reverse
from playwright.sync_api import Browser, Page

from tests.browser.conftest import Visit, visiting
from tests.browser.looks import is_readable, looks
from tests.browser.test_admin import colours
from tests.databases import alias_of, forget, new_database, point

ALIAS = "night"

pytestmark = [
    pytest.mark.browser,
    # Not all of them: databases of other tests may be there as well, and would be flushed.
    pytest.mark.django_db(transaction=True, databases=["default", ALIAS]),
]

SCRIPT = "<img src=x onerror='window.seen=1'><script>window.seen=1</script>"


@pytest.fixture(scope="module", autouse=True)
def database(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """A database at three in the morning: a failed migration, drift, and text that means harm."""
    with django_db_blocker.unblock(), new_database() as made:
        with (
            override_settings(INSTALLED_APPS=["hodei.schema", "tests.schema.apps.ledger"]),
            pytest.MonkeyPatch.context() as patch,
            alias_of(made) as alias,
        ):
            patch.setenv("LEDGER_AMOUNT", "nonsense")
            with pytest.raises(DataError):
                call_command("migrate", "ledger", database=alias, verbosity=0)
            MigrationRecorder(connections[alias]).record_applied("ledger", "0009_newer")
            with connections[alias].cursor() as cursor:
                cursor.execute(
                    f'CREATE TABLE "{SCRIPT}" (id int); '
                    "ALTER TABLE ledger_entry SET UNLOGGED; "
                    "COMMENT ON TABLE ledger_entry IS 'mine'; "
                    "INSERT INTO schema_migration_runs (batch, app, name, direction, success, "
                    "error, traceback, database_user, os_user, host, command, release, "
                    "hodei_version, django_version) "
                    "SELECT gen_random_uuid(), 'shop', %s, 'forward', n %% 2 = 0, %s, %s, "
                    "'deploy', 'root', 'web-1', 'migrate', '', '0', '5' "
                    "FROM generate_series(1, 120) n",
                    [SCRIPT, f"DataError: {SCRIPT} {'x' * 900}", f"Traceback: {SCRIPT}"],
                )
        point(ALIAS, made)
        yield
        forget(ALIAS)


@pytest.fixture
def night(
    browser: Browser, live_server: Any, admin_client: Client, settings: Any
) -> Iterator[Visit]:
    """A superuser's window on it. Nothing may be complained about by the end."""
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "tests.schema.apps.ledger"]
    with visiting(browser, live_server.url, admin_client) as visit:
        visit.page.set_default_timeout(15_000)
        yield visit
        assert visit.complaints == []


def address(name: str, *args: object) -> str:
    found = reverse(f"admin:hodei_schema_migrationrun_{name}", args=args)
    return f"{found}?database={ALIAS}"


def pages(visit: Visit) -> Iterator[Page]:
    """Each page in turn; drift with its findings."""
    for name, *args in (("status",), ("changelist",), ("change", 2), ("drift",)):
        yield visit.open(address(name, *args))
    with visit.page.expect_navigation():
        visit.page.get_by_role("button", name="Compare now").click()
    yield visit.page


def test_from_a_failed_migration_to_its_traceback_by_keyboard(night: Visit) -> None:
    page = night.open(address("status"))
    assert "INVALID" in page.locator(".hodei-verdict").first.inner_text()
    assert page.locator(".hodei-found li").first.inner_text().startswith("failed")
    assert colours(page.screenshot()) > 50

    page.get_by_role("link", name="Status", exact=True).focus()
    # The tabs, the form, and then what is wrong.
    for _ in range(12):
        page.keyboard.press("Tab")
        if "traceback" in page.evaluate("document.activeElement.innerText"):
            break
    with page.expect_navigation():
        page.keyboard.press("Enter")

    assert "Traceback (most recent call last)" in page.locator(".hodei-traceback").inner_text()
    assert page.locator("h1").inner_text() == "Run 2: ledger.0002_post"


def test_an_app_unfolds_and_narrows(night: Visit) -> None:
    page = night.open(address("status"))
    row = page.locator("details.hodei-app", has_text="ledger")
    assert not row.locator("table").is_visible()

    row.locator("summary").press("Enter")
    assert row.locator("tbody tr").count() == 4
    assert row.locator("table").is_visible()

    page.get_by_label("App").select_option("ledger")
    page.get_by_label("Pending only").check()
    with page.expect_navigation():
        page.get_by_role("button", name="Show").click()

    assert page.locator("details.hodei-app").count() == 1
    assert page.locator("#content tbody tr:visible").count() == 2
    assert page.get_by_label("Database").input_value() == ALIAS


def test_a_double_click_compares_and_shows_what_it_found(night: Visit) -> None:
    page = night.open(address("drift"))

    page.get_by_role("button", name="Compare now").dblclick(no_wait_after=True)
    page.wait_for_selector(".hodei-verdict")

    assert "1 drifted, 1 unexpected, 1 cosmetic" in page.locator(".hodei-verdict").inner_text()
    finding = page.locator("#error article")
    assert (
        'ALTER TABLE "ledger_entry" SET LOGGED;' in finding.locator("pre.hodei-block").inner_text()
    )
    assert colours(page.screenshot()) > 50


def test_without_javascript(night: Visit, browser: Browser) -> None:
    context = browser.new_context(
        java_script_enabled=False, storage_state=night.page.context.storage_state()
    )
    page = context.new_page()

    page.goto(night.url + address("changelist"))
    page.get_by_label("Outcome").select_option("failed")
    page.get_by_role("button", name="Show").click()
    page.get_by_role("link", name="Older").click()
    assert page.locator("#content tbody tr").count() == 11
    page.get_by_role("link", name="Drift", exact=True).click()
    page.get_by_role("button", name="Compare now").click()
    page.get_by_role("link", name="Warnings: 2").click()
    assert page.locator("#warning article").count() == 2
    context.close()


def test_every_page_is_readable_on_a_desk_and_on_a_phone(night: Visit) -> None:
    for page in pages(night):
        for width in looks(page):
            is_readable(page, width)
        assert page.locator("h1:visible").count() == 1
        assert page.get_by_role("alert").count() == 0
        assert page.evaluate("window.seen") is None
