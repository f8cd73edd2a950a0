"""Who gets to the pages, and on which site."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client

# Before a test takes the apps away that the project's URLs need when they are imported.
import hodei.urls  # noqa: F401
from hodei.schema.history import read_runs
from tests.schema.test_admin.reading import BASE, PAGES, execute, get, run_numbers

pytestmark = pytest.mark.django_db

#: What is installed before these tests install something else.
OURS = list(settings.INSTALLED_APPS)


class TestPermissions:
    def test_a_stranger_is_sent_to_the_login(self, client: Client) -> None:
        for path in PAGES:
            answer = client.get(BASE + path)

            assert answer.status_code == 302
            assert answer["Location"].startswith("/office/login/")

    @pytest.mark.parametrize(
        ("permission", "is_staff", "code"),
        [
            ("view_user", True, 403),
            ("view_migrationrun", False, 302),
            ("view_migrationrun", True, 200),
        ],
    )
    def test_staff_with_the_permission_and_nobody_else(
        self, staff: Callable[..., Client], permission: str, is_staff: bool, code: int
    ) -> None:
        somebody = staff(permission, is_staff=is_staff)

        assert [somebody.get(BASE + path).status_code for path in PAGES] == [code] * len(PAGES)

    def test_a_comparison_needs_it_too(self, staff: Callable[..., Client], client: Client) -> None:
        assert client.post(f"{BASE}drift/").status_code == 302
        assert staff("view_user").post(f"{BASE}drift/").status_code == 403

    def test_a_comparison_needs_a_token(self, admin_user: User) -> None:
        client = Client(enforce_csrf_checks=True)
        client.force_login(admin_user)
        refused = client.post(f"{BASE}drift/")
        form = client.get(f"{BASE}drift/").text
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form[form.index("ask") :])
        assert token is not None

        allowed = client.post(f"{BASE}drift/", {"csrfmiddlewaretoken": token[1]})

        assert (refused.status_code, allowed.status_code) == (403, 200)
        assert "Compared" in allowed.text

    def test_the_other_pages_take_no_post(self, page: Client) -> None:
        for path in ("", "status/", "1/change/"):
            for send in (page.post, page.put, page.delete):
                assert send(BASE + path).status_code == 405

    def test_there_is_nothing_that_adds_or_deletes(self, page: Client) -> None:
        for path in ("add/", "1/delete/", "1/history/"):
            assert page.get(BASE + path).status_code == 404


class TestSite:
    def test_index_and_app_lead_to_the_pages(self, page: Client) -> None:
        index = page.get("/office/").text
        app = page.get("/office/hodei_schema/").text

        assert f'href="{BASE}"' in index
        for path in ("", "status/", "drift/"):
            assert f'href="{BASE}{path}"' in app

    def test_every_link_of_a_page_stays_on_its_site(self, page: Client) -> None:
        for path in PAGES:
            text = page.get(BASE + path).text

            addresses = set(re.findall(r'(?:href|action)="(/[^"]*)"', text))
            assert {one for one in addresses if not one.startswith("/office/")} <= {
                *(one for one in addresses if one.startswith("/static/")),
                "/",
            }

    def test_no_page_has_a_script_or_a_style_of_its_own(self, page: Client) -> None:
        for path in PAGES:
            text = page.get(BASE + path).text

            assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=", text) == []

    def test_the_default_site_has_them_as_well(self, settings: Any, admin_client: Client) -> None:
        settings.ROOT_URLCONF, settings.INSTALLED_APPS = "hodei.urls", OURS

        for path in PAGES:
            answer = admin_client.get(f"/admin/hodei_schema/migrationrun/{path}")
            assert answer.status_code == 200

    def test_where_numbers_and_times_are_written_otherwise(
        self, page: Client, failed: str, settings: Any
    ) -> None:
        execute(failed, "UPDATE schema_migration_runs SET id = id + 12344")
        settings.USE_TZ = settings.USE_I18N = False
        settings.USE_THOUSAND_SEPARATOR = True
        settings.TIME_ZONE = "America/Lima"

        markup = get(page, database=failed)

        assert run_numbers(markup) == [12346, 12345]
        (run, *_) = read_runs(failed)
        assert f"{run.started_at:%Y-%m-%d %H:%M:%S}" in markup
