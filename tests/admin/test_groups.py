"""Open dead letters by how they failed."""

from __future__ import annotations

from html import unescape

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from outbox.models import DeadLetter
from outbox.services import dead_letters
from tests.admin.deciding import decide
from tests.admin.pages import list_of
from tests.admin.test_permissions import staff_with

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sample")]


def address() -> str:
    return reverse("admin:outbox_deadletter_groups")


def test_each_group_has_its_number_and_what_can_be_decided(page: Client) -> None:
    stats = dead_letters.stats()
    assert stats.by_fingerprint

    text = unescape(page.get(address()).text)

    assert f"{stats.open} are open, counted by how they failed." in text
    for group in stats.by_fingerprint:
        assert list_of(DeadLetter, fingerprint=group.key, state="open") in text
        back = f"fingerprint={group.key}&state=open"
        assert decide(DeadLetter, "requeue", all=1, back=back) in text
    assert "decide/restore/" not in text
    assert page.get(decide(DeadLetter, "requeue", all=1, back=back)).status_code == 200


def test_it_costs_the_same_for_many(page: Client) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert page.get(address()).status_code == 200
        return len(captured)

    queries()
    DeadLetter.objects.exclude(pk=DeadLetter.objects.first().pk).update(fingerprint="a" * 64)
    few = queries()
    for number, letter in enumerate(DeadLetter.objects.all()):
        DeadLetter.objects.filter(pk=letter.pk).update(fingerprint=f"{number:064x}")
    assert queries() == few <= 9


def test_nothing_open_is_said(page: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE outbox_dlq SET resolved_at = now(), resolved_by = 'x'")

    assert "No dead letter is open." in page.get(address()).text


def test_the_list_leads_there(page: Client) -> None:
    assert address() in page.get(list_of(DeadLetter)).text


def test_it_takes_the_right_to_view(client: Client) -> None:
    assert staff_with(client, "operate_deadletter").get(address()).status_code == 403


def test_who_only_views_is_offered_nothing(client: Client) -> None:
    answer = staff_with(client, "view_deadletter").get(address())

    assert answer.status_code == 200
    assert "decide/" not in answer.text
