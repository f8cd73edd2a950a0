"""Who may decide what: each action, with its permission and without."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.test import Client

from hodei.admin.deciding import DecidingAdmin
from tests.admin.deciding import DECIDING, WHY, decide
from tests.admin.pages import list_of, page_of
from tests.admin.test_permissions import staff_with

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sample")]

EVERY = [(one, action) for one in DECIDING for action in one.decisions]
NAMES = [f"{one.opts.model_name}-{action.name}" for one, action in EVERY]


@pytest.mark.parametrize(("model_admin", "action"), EVERY, ids=NAMES)
class TestPermission:
    """Of each action, with its permission and without."""

    def row(self, model_admin: DecidingAdmin) -> Any:
        return model_admin.model.objects.first()

    def query(self, action: Any) -> dict[str, str]:
        return {"part": "transfer_job"} if action.part else {}

    def test_to_view_is_not_enough(
        self, client: Client, model_admin: DecidingAdmin, action: Any
    ) -> None:
        model = model_admin.model
        name = model._meta.model_name
        decides = {one.permission.partition(".")[2] for one in model_admin.decisions}
        staff = staff_with(client, *{f"view_{name}", f"change_{name}", f"add_{name}"} - decides)
        row = self.row(model_admin)
        address = decide(row, action.name, **self.query(action))
        form = {"id": row.pk, "reason": WHY, **self.query(action)}

        assert staff.get(address).status_code == 403
        assert staff.post(address, form).status_code == 403
        assert "decide/" not in staff.get(page_of(row)).text
        assert 'name="action"' not in staff.get(list_of(model)).text
        staff.post(list_of(model), {"action": action.name, "_selected_action": [row.pk]})
        assert not LogEntry.objects.exists()

    def test_its_own_is_enough_to_be_asked(
        self, client: Client, model_admin: DecidingAdmin, action: Any
    ) -> None:
        model = model_admin.model
        staff = staff_with(
            client, f"view_{model._meta.model_name}", action.permission.partition(".")[2]
        )

        answer = staff.get(decide(self.row(model_admin), action.name, **self.query(action)))

        assert answer.status_code == 200
        offered = f'<option value="{action.name}">' in staff.get(list_of(model)).text
        assert offered is action.many

    def test_it_shows_nothing_to_whom_may_not_view(
        self, client: Client, model_admin: DecidingAdmin, action: Any
    ) -> None:
        staff = staff_with(client, action.permission.partition(".")[2])
        row = self.row(model_admin)

        assert staff.get(decide(row, action.name, **self.query(action))).status_code == 403

    def test_a_forged_form_does_nothing(
        self, model_admin: DecidingAdmin, action: Any, admin_user: Any
    ) -> None:
        client = Client(enforce_csrf_checks=True)
        client.force_login(admin_user)
        row = self.row(model_admin)

        answer = client.post(
            decide(row, action.name), {"id": row.pk, "reason": WHY, **self.query(action)}
        )

        assert answer.status_code == 403
        assert not LogEntry.objects.exists()

    def test_a_link_does_nothing(
        self, page: Client, model_admin: DecidingAdmin, action: Any
    ) -> None:
        row = self.row(model_admin)

        page.get(decide(row, action.name, reason=WHY, **self.query(action)))

        assert not LogEntry.objects.exists()

    def test_the_permission_exists(self, model_admin: DecidingAdmin, action: Any) -> None:
        app, _, name = action.permission.partition(".")

        assert Permission.objects.filter(content_type__app_label=app, codename=name).exists()
