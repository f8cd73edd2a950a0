"""Each form of the admin, filled with what nobody should write: it comes back, or does as told."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.urls import reverse

from hodei.admin.actions import Action
from hodei.admin.deciding import DecidingAdmin
from hodei.sample import SampleReport
from tests.admin.pages import admins, page_of, view
from tests.hostile import SECRET, TEXTS, rows

pytestmark = pytest.mark.django_db

CASES = [
    pytest.param(one, action, id=f"{one.opts.label} {action.name}")
    for one in admins()
    if isinstance(one, DecidingAdmin)
    for action in one.decisions
]


def asked_by(model_admin: DecidingAdmin, action: Action) -> list[str]:
    """What this form asks and others do not. The reason is the same field in each: the first form
    of an admin is enough for it."""
    reason = ["reason"] if action is model_admin.decisions[0] else []
    return [*action.fields, *(["part"] if action.part else []), *reason]


VALUES = {
    **TEXTS,
    "a number beyond all": "9" * 5_000,
    "NaN": "NaN",
    "nested without end": "[" * 100_000,
    "nested deeply": '{"a":' * 900 + "1" + "}" * 900,
    "NUL in JSON": '{"a": "\\u0000"}',
    "half a pair in JSON": '["\\ud800"]',
    "an exponent": '{"a": 1e999}',
}


@pytest.mark.parametrize(
    ("model_admin", "action"), [case for case in CASES if asked_by(*case.values)]
)
def test_whatever_is_written_there_is_an_answer(
    page: Client, sample: SampleReport, model_admin: Any, action: Any
) -> None:
    row = model_admin.model._default_manager.order_by("pk").first()
    part = {action.part: "nonsense", "part": "nonsense"} if action.part else {}
    address = reverse(view(row, "decide"), args=(action.name,))
    for name, value in VALUES.items():
        for field in asked_by(model_admin, action):
            form = {
                "id": str(row.pk),
                "reason": "why",
                **dict.fromkeys(action.fields, "1"),
                **part,
                field: value.encode("utf-8", "replace").decode(),
            }
            with transaction.atomic():
                answer = page.post(address, form)
                assert answer.status_code in {200, 302, 400, 404}, (name, field)
                transaction.set_rollback(True)


@pytest.mark.parametrize("keys", [["\0"], ["nonsense"], ["9" * 5_000], [""], ["' OR 1=1 --"] * 300])
@pytest.mark.parametrize(("model_admin", "action"), CASES[:1] + CASES[-1:])
def test_keys_that_are_none(
    page: Client, sample: SampleReport, model_admin: Any, action: Any, keys: list[str]
) -> None:
    row = model_admin.model._default_manager.order_by("pk").first()
    address = reverse(view(row, "decide"), args=(action.name,))
    before = rows()

    for answer in (
        page.get(address, {"id": keys, **({"part": "x"} if action.part else {})}),
        page.post(address, {"id": keys, "reason": "why", **({"part": "x"} if action.part else {})}),
    ):
        assert answer.status_code in {302, 400, 404}
    assert rows() == before


def test_a_secret_in_a_reason_is_shown_nowhere(page: Client, sample: SampleReport) -> None:
    from jobs.models import Job

    job = Job.objects.filter(state="PENDING", orchestrated=False).first()
    assert job is not None
    address = reverse(view(job, "decide"), args=("hold",))

    page.post(address, {"id": str(job.pk), "reason": f"password={SECRET}"})

    assert Job.objects.get(pk=job.pk).state == "MANUAL_INTERVENTION_REQUIRED"
    for shown in (
        page_of(job),
        reverse("admin:jobs_auditrecord_changelist"),
        reverse("admin:index"),
    ):
        assert SECRET not in page.get(shown, follow=True).text
