"""What is decided about rows, and with forms, that mean harm."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from jobs.models import Job
from sagas.models import Saga
from tests.admin.deciding import WHY, decide, job
from tests.admin.pages import list_of, page_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sample")]

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>"


class TestHostile:
    def test_names_and_reasons_stay_text(self, page: Client) -> None:
        waiting = job("thumbnail 99120")
        Job.objects.filter(pk=waiting.pk).update(name=SCRIPT)
        Job.objects.filter(state="FAILED").update(name=SCRIPT)
        back = f'"><script>alert(3)</script>{SCRIPT}'

        asked = page.post(decide(waiting, "hold"), {"id": waiting.pk, "reason": "", "back": back})
        answer = page.post(
            decide(waiting, "hold"), {"id": waiting.pk, "reason": SCRIPT}, follow=True
        )
        listed = page.post(
            list_of(Job),
            {
                "action": "cancel",
                "_selected_action": list(Job.objects.values_list("pk", flat=True)),
            },
        )

        for text in (asked.text, answer.text, listed.text, page.get(list_of(Job)).text):
            assert "<script>alert" not in text
            assert "<img src=x" not in text
        assert SCRIPT in Job.objects.get(pk=waiting.pk).error_message

    def test_parts_stay_text(self, page: Client) -> None:
        saga = Saga.objects.get(outcome="COMPENSATION_FAILED")
        saga.steps.filter(state="PARKED").update(step_name=SCRIPT)
        Saga.objects.filter(pk=saga.pk).update(saga_type=SCRIPT, incident=SCRIPT)
        address = decide(saga, "mark_handled", part=SCRIPT)

        shown = page.get(page_of(saga)).text
        asked = page.get(address).text
        form = {"id": saga.pk, "part": SCRIPT, "reason": WHY}
        answer = page.post(address, form, follow=True).text

        assert "decide/mark_handled/" in shown
        for text in (shown, asked, answer, page.get(list_of(Saga)).text):
            assert "<script>alert" not in text
            assert "<img src=x" not in text

    def test_the_way_back_stays_in_the_list(self, page: Client) -> None:
        waiting = job("thumbnail 99120")
        form = {"id": waiting.pk, "reason": WHY, "back": "//elsewhere.example/"}

        answer = page.post(decide(waiting, "hold"), form)

        assert answer.url == f"{list_of(Job)}?//elsewhere.example/"

    def test_a_line_break_in_it_is_no_header(self, page: Client) -> None:
        waiting = job("thumbnail 99120")
        form = {"id": waiting.pk, "reason": WHY, "back": "a=1\r\nSet-Cookie: x=1"}

        answer = page.post(decide(waiting, "hold"), form)

        assert answer.status_code == 302
        assert "Set-Cookie" not in answer.headers or "x=1" not in answer.headers["Set-Cookie"]

    @pytest.mark.parametrize("output", ["{", "[" * 100_000, "NaN", '{"a": 1e999}'])
    def test_output_that_is_no_json_is_refused(self, page: Client, output: str) -> None:
        saga = Saga.objects.get(outcome=None)
        form = {"id": saga.pk, "part": "execute_job", "reason": WHY, "output": output}

        answer = page.post(decide(saga, "skip_step", part="execute_job"), form)

        assert answer.status_code in {200, 302}
        assert not LogEntry.objects.exists()
