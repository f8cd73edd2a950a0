"""What is decided about sagas and their steps."""

from __future__ import annotations

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from sagas.models import Saga, SagaAuditEvent
from tests.admin.deciding import WHY, decide, told
from tests.admin.pages import list_of, page_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sample")]


class TestSagas:
    def offered(self, page: Client, saga: Saga) -> set[tuple[str, str]]:
        """The names of what is offered, and the parts."""
        found = re.findall(
            r"decide/(\w+)/\?id=[\w-]+(?:&amp;part=(\w+))?", page.get(page_of(saga)).text
        )
        return set(found)

    def test_what_the_state_allows_is_offered(self, page: Client) -> None:
        failed = Saga.objects.get(outcome="COMPENSATION_FAILED")
        running = Saga.objects.get(outcome=None)
        parked = failed.steps.get(state="PARKED").step_name

        assert self.offered(page, Saga.objects.get(outcome="COMPLETED")) == set()
        assert self.offered(page, failed) == {
            ("retry_compensation", ""),
            ("retry_step_compensation", parked),
            ("mark_handled", parked),
        }
        # The sample is long ago: its runner has it no more. And no code here knows its steps.
        assert self.offered(page, running) >= {("pause", ""), ("extend_deadline", "")}

    def test_a_parked_step_is_marked_as_handled(self, page: Client) -> None:
        saga = Saga.objects.get(outcome="COMPENSATION_FAILED")
        step = saga.steps.get(state="PARKED").step_name
        address = decide(saga, "mark_handled", part=step)
        assert step in page.get(address).text

        answer = page.post(address, {"id": saga.pk, "part": step, "reason": WHY})

        assert answer.url == page_of(saga)
        assert told(answer) == [f"{step} was undone by hand"]
        assert saga.steps.get(step_name=step).state == "COMPENSATED"
        event = SagaAuditEvent.objects.get(saga=saga, event_type="COMPENSATION_HANDLED")
        assert event.payload == {"reason": WHY, "actor": "admin:admin"}
        assert LogEntry.objects.get().get_change_message() == f"Mark handled {step}: {WHY}"

    def test_a_step_that_is_not_there_is_refused(self, page: Client) -> None:
        saga = Saga.objects.get(outcome="COMPENSATION_FAILED")
        form = {"id": saga.pk, "part": "nonsense", "reason": WHY}

        assert "has no step" in page.get(decide(saga, "mark_handled", part="nonsense")).text
        (refusal,) = told(page.post(decide(saga, "mark_handled"), form))
        assert "has no step" in refusal

    def test_sagas_are_paused_and_resumed_by_selection(self, page: Client) -> None:
        rows = list(Saga.objects.all())
        keys = [saga.pk for saga in rows]

        asked = page.post(list_of(Saga), {"action": "pause", "_selected_action": keys})
        paused = page.post(decide(Saga, "pause"), {"id": keys, "reason": WHY, "back": ""})
        resumed = page.post(decide(Saga, "resume"), {"id": keys, "reason": WHY, "back": ""})

        assert "Pause: 1 of 4 sagas" in asked.text
        assert told(paused)[0] == "1 of 4 sagas paused."
        assert "1 of 4 sagas resumed." in told(resumed)

    @pytest.mark.parametrize(("chosen", "is_none"), [("6h", False), ("never", True)])
    def test_a_deadline_is_changed(self, page: Client, chosen: str, is_none: bool) -> None:
        saga = Saga.objects.get(outcome=None)
        before = saga.deadline_at
        form = {"id": saga.pk, "reason": WHY, "until": chosen}

        page.post(decide(saga, "extend_deadline"), form)

        saga.refresh_from_db()
        assert (saga.deadline_at is None) is is_none
        assert saga.deadline_at != before
