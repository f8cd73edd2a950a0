"""The roles of the admin: what each may on the pages, and the command that makes them."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from hodei.schema.roles import ROLES, group_name, permissions_of_roles
from jobs.models import Job
from tests.admin.deciding import DECIDING, WHY, decide
from tests.admin.pages import admins, list_of, page_of

pytestmark = pytest.mark.django_db

EVERY = [(one, action) for one in DECIDING for action in one.decisions]
NAMES = [f"{one.opts.model_name}-{action.name}" for one, action in EVERY]
ROOT = Path(__file__).resolve().parents[2]
#: What only an administrator may.
RESERVED = {"jobs.delete_job", "jobs.change_provider", "outbox.resend_deadletter"}


def made(*options: str) -> str:
    out = StringIO()
    call_command("hodei_roles", *options, stdout=out, stderr=StringIO())
    return out.getvalue()


def has(role: str) -> set[str]:
    rows = Group.objects.get(name=group_name(role)).permissions.select_related("content_type")
    return {f"{row.content_type.app_label}.{row.codename}" for row in rows}


def member(client: Client, role: str) -> Client:
    made()
    user = User.objects.create_user(role, is_staff=True)
    user.groups.add(Group.objects.get(name=group_name(role)))
    client.force_login(user)
    return client


class TestPermissions:
    def test_each_of_our_actions_is_in_the_roles_where_it_belongs(self) -> None:
        roles = permissions_of_roles()

        for _, action in EVERY:
            in_roles = [role for role in ROLES if action.permission in roles[role]]
            least = ["administrator"]
            assert in_roles == (least if action.permission in RESERVED else ["operator", *least]), (
                action.permission
            )

    def test_nothing_else_changes_anything(self) -> None:
        roles = permissions_of_roles()
        views = {name for name in roles["administrator"] if ".view_" in name}

        assert roles["viewer"] == views
        actions = {action.permission for _, action in EVERY}
        assert roles["administrator"] - views == actions

    def test_who_views_sees_every_page(self) -> None:
        viewer = permissions_of_roles()["viewer"]

        for one in admins():
            assert f"{one.opts.app_label}.view_{one.opts.model_name}" in viewer
        assert "hodei_schema.view_migrationrun" in viewer


@pytest.mark.usefixtures("sample")
class TestPages:
    def test_a_viewer_sees_all_and_can_change_nothing(self, client: Client) -> None:
        viewer = member(client, "viewer")

        for one in admins():
            assert viewer.get(list_of(one.model)).status_code == 200
            row = one.model._default_manager.first()
            if row is not None:
                answer = viewer.get(page_of(row))
                assert answer.status_code == 200
                assert "decide/" not in answer.text
                assert viewer.post(page_of(row), {"_save": "Save"}).status_code == 403
        assert viewer.get(reverse("admin:hodei_schema_migrationrun_status")).status_code == 200
        for one, action in EVERY:
            row = one.model._default_manager.first()
            given = {"id": str(row.pk), "reason": WHY} | ({"part": "x"} if action.part else {})
            assert viewer.get(decide(row, action.name)).status_code == 403, action.name
            assert viewer.post(decide(row, action.name), given).status_code == 403, action.name
            whole = {"all": 1, "back": "", "reason": WHY}
            assert viewer.post(decide(one.model, action.name), whole).status_code == 403
        assert not LogEntry.objects.exists()

    @pytest.mark.parametrize("role", ["operator", "administrator"])
    def test_who_operates_is_asked_about_what_the_role_allows(
        self, client: Client, role: str
    ) -> None:
        operator = member(client, role)

        for one, action in EVERY:
            row = one.model._default_manager.first()
            query = {"part": "transfer_job"} if action.part else {}
            answer = operator.get(decide(row, action.name, **query))
            is_allowed = role == "administrator" or action.permission not in RESERVED
            assert answer.status_code == (200 if is_allowed else 403), action.name

    def test_an_operator_decides(self, client: Client) -> None:
        operator = member(client, "operator")
        job = Job.objects.get(name="thumbnail 99120")

        operator.post(decide(job, "hold"), {"id": job.pk, "reason": WHY})

        job.refresh_from_db()
        assert job.state == "MANUAL_INTERVENTION_REQUIRED"


class TestCommand:
    def test_it_makes_them_once(self) -> None:
        first = made()

        assert [group.name for group in Group.objects.order_by("pk")] == [
            *("Hodei viewer", "Hodei operator", "Hodei administrator")
        ]
        for role, wanted in permissions_of_roles().items():
            assert has(role) == wanted
            assert f"Hodei {role} is made, with {len(wanted)} permissions." in first
        for page in ("docs/reference/hodei_roles.md", "docs/how-to/admin.md"):
            assert all(f"    {line}" in (ROOT / page).read_text() for line in first.splitlines())
        again = made()
        assert again.splitlines() == [f"Hodei {role} is as it is to be." for role in ROLES]

    def test_dry_run_changes_nothing(self) -> None:
        said = made("--dry-run")

        assert "Hodei viewer would be made, with " in said
        assert not Group.objects.exists()

    def test_what_a_person_gave_or_took_away(self) -> None:
        made()
        group = Group.objects.get(name="Hodei operator")
        someone = User.objects.create_user("ada")
        group.user_set.add(someone)
        group.permissions.add(Permission.objects.get(codename="view_user"))
        group.permissions.remove(Permission.objects.get(codename="operate_job"))

        kept = made()

        assert "Hodei operator is given jobs.operate_job." in kept
        assert "Hodei operator keeps auth.view_user, given by others (see --exact)." in kept
        assert {"auth.view_user", "jobs.operate_job"} <= has("operator")
        would = made("--exact", "--dry-run")
        assert "Hodei operator would lose auth.view_user." in would
        assert "auth.view_user" in has("operator")
        assert "Hodei operator loses auth.view_user." in made("--exact")
        assert has("operator") == permissions_of_roles()["operator"]
        assert list(group.user_set.all()) == [someone]

    def test_groups_of_the_project_are_left_alone(self) -> None:
        mine = Group.objects.create(name="operator")

        made("--exact")

        assert not mine.permissions.exists()

    def test_before_migrate_it_says_so_and_makes_nothing(self) -> None:
        Permission.objects.filter(codename__in=["operate_job", "operate_saga"]).delete()

        with pytest.raises(CommandError, match=r"permission jobs\.operate_job and 1 more\.") as no:
            made()

        assert no.value.returncode == 1
        assert not Group.objects.exists()

    def test_without_groups_it_says_what_has_them(self, settings: Any) -> None:
        from django.apps import apps

        installed = [one for one in settings.INSTALLED_APPS if "contrib" not in one]
        apps.set_installed_apps([*installed, "django.contrib.contenttypes"])
        try:
            with pytest.raises(CommandError, match=r"Add it to INSTALLED_APPS") as no:
                made()
        finally:
            apps.unset_installed_apps()

        assert no.value.returncode == 1

    def test_json(self) -> None:
        made()
        Group.objects.get(name="Hodei viewer").permissions.clear()

        document = json.loads(made("--format", "json", "--dry-run"))

        assert document["format_version"] == 1
        assert (document["database"], document["dry_run"]) == ("default", True)
        viewer, operator, _ = document["groups"]
        assert viewer["added"] == sorted(permissions_of_roles()["viewer"])
        assert operator == {
            "group": "Hodei operator",
            "is_new": False,
            "added": [],
            "removed": [],
            "others": [],
        }
