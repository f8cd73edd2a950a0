from __future__ import annotations

import pytest
from django.apps import apps
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from hodei.sample import SampleReport
from outbox.models import DeadLetter, Event
from sagas.models import Saga
from tests.admin.pages import admins, list_of, page_of, view

pytestmark = pytest.mark.django_db

OURS = [one.model for one in admins()]


def staff_with(client: Client, *permissions: str) -> Client:
    user = User.objects.create_user("staff", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(user)
    return client


def test_every_model_of_the_apps_has_a_page() -> None:
    models = {
        model
        for app in ("jobs", "outbox", "sagas")
        for model in apps.get_app_config(app).get_models()
    }

    assert set(OURS) == models


@pytest.mark.parametrize("model", OURS, ids=lambda model: model._meta.label)
class TestNobodyWrites:
    def test_no_add_page(self, page: Client, model: type) -> None:
        assert page.get(reverse(view(model, "add"))).status_code == 403

    def test_change_and_delete_are_refused(
        self, page: Client, sample: SampleReport, model: type
    ) -> None:
        row = model.objects.first()
        if row is None:
            assert model._meta.db_table not in sample.rows
            return

        change = page.post(page_of(row), {"_save": "Save"})
        delete = page.post(reverse(view(row, "delete"), args=(row.pk,)), {"post": "yes"})

        assert (change.status_code, delete.status_code) == (403, 403)
        assert model.objects.filter(pk=row.pk).exists()

    def test_no_bulk_deletion(self, page: Client, sample: SampleReport, model: type) -> None:
        keys = list(model.objects.values_list("pk", flat=True))

        page.post(
            list_of(model), {"action": "delete_selected", "_selected_action": keys, "post": "yes"}
        )

        assert model.objects.count() == len(keys)

    def test_the_right_to_change_shows_nothing(self, client: Client, model: type) -> None:
        name = model._meta.model_name
        staff = staff_with(client, f"change_{name}", f"delete_{name}", f"add_{name}")

        assert staff.get(list_of(model)).status_code == 403

    def test_the_right_to_view_is_enough(self, client: Client, model: type) -> None:
        staff = staff_with(client, f"view_{model._meta.model_name}")

        assert staff.get(list_of(model)).status_code == 200


def test_panels_need_their_own_right(client: Client, sample: SampleReport) -> None:
    staff = staff_with(client, "view_saga", "view_sagastep")

    text = staff.get(page_of(Saga.objects.first())).text

    assert "STEP_STARTED" not in text
    assert "validate_" in text


@pytest.mark.parametrize(
    ("model", "lookup"),
    [
        ("jobs.BootstrapToken", "secret_hash__startswith"),
        ("jobs.Provider", "config__registry__password__startswith"),
        ("jobs.Job", "spec__env__DB_PASSWORD"),
        ("outbox.DeadLetter", "error_message__icontains"),
        ("outbox.DeadLetter", "actions__note__icontains"),
        ("sagas.Saga", "steps__output_data__join_token__startswith"),
        ("outbox.Event", "status__regex"),
    ],
)
def test_lookups_that_would_guess_or_scan_are_refused(
    page: Client, model: str, lookup: str
) -> None:
    answer = page.get(list_of(apps.get_model(model), **{lookup: "a"}))

    assert answer.status_code == 400


def test_what_cannot_be_stored_is_no_error(page: Client, sample: SampleReport) -> None:
    assert page.get(list_of(DeadLetter, event_type="\0")).status_code == 400
    assert page.get(list_of(Event, aggregate_type="a\0b")).status_code == 400
    assert page.get(list_of(Event, q="\0")).status_code == 200
    assert (
        page.get(list_of(Event, q="\ud800".encode("utf-8", "replace").decode())).status_code == 200
    )
    assert page.get(list_of(Event, aggregate_id="nonsense"), follow=True).status_code == 200
