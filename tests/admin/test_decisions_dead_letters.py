"""What is decided about dead letters."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.db import transaction
from django.test import Client

from outbox.admin.decisions import LETTER_ACTIONS
from outbox.models import DeadLetter, DeadLetterActionRecord, Event
from tests.admin.deciding import WHY, decide, told
from tests.admin.pages import page_of
from tests.admin.test_permissions import staff_with

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sample")]


class TestDeadLetters:
    def test_one_is_requeued(self, page: Client) -> None:
        letter = DeadLetter.objects.filter(resolved_at__isnull=True).first()
        assert letter is not None

        answer = page.post(decide(letter, "requeue"), {"id": letter.pk, "reason": WHY})

        assert told(answer)[0].startswith("Requeued: the event is on its way again.")
        letter.refresh_from_db()
        assert letter.resolved_by == "admin:admin"
        done = DeadLetterActionRecord.objects.filter(dead_letter=letter).order_by("-id")[0]
        assert (done.action, done.actor, done.note) == ("REQUEUED", "admin:admin", WHY)

    def test_what_is_offered_is_what_is_possible(self, page: Client) -> None:
        """Of every dead letter of the sample, each action."""
        letters = DeadLetter.objects.all()
        actions = [action.name for action in LETTER_ACTIONS]
        for letter in letters:
            text = page.get(page_of(letter)).text
            for name in actions:
                is_offered = f"decide/{name}/" in text
                with transaction.atomic():
                    form = {"id": letter.pk, "reason": WHY, "changes": "{}"}
                    page.post(decide(letter, name), form)
                    assert LogEntry.objects.exists() is is_offered, (letter, name)
                    transaction.set_rollback(True)

    def test_a_changed_copy_is_sent_in_its_place(self, page: Client) -> None:
        letter = DeadLetter.objects.filter(resolved_at__isnull=True).first()
        assert letter is not None
        form = {"id": letter.pk, "reason": WHY, "changes": '{"put right": true}'}

        answer = page.post(decide(letter, "resend"), form)

        done = DeadLetterActionRecord.objects.filter(dead_letter=letter).order_by("-id")[0]
        assert (done.action, done.actor, done.note) == ("RESENT", "admin:admin", WHY)
        copy = Event.objects.get(pk=done.details["event_id"])
        assert told(answer) == [f"Resent: its changed copy is event {copy.pk}."]
        assert copy.payload == {**letter.payload, "put right": True}
        assert copy.metadata["causation_id"] == str(letter.original_event_id)

    @pytest.mark.parametrize("changes", ["", "null", "[1]", '"text"'])
    def test_changes_that_are_no_object_change_nothing(self, page: Client, changes: str) -> None:
        letter = DeadLetter.objects.filter(resolved_at__isnull=True).first()
        assert letter is not None
        form = {"id": letter.pk, "reason": WHY, "changes": changes}

        answer = page.post(decide(letter, "resend"), form)

        assert "they are a JSON object" in told(answer)[0]
        assert DeadLetter.objects.get(pk=letter.pk).resolved_at is None

    def test_to_decide_is_not_to_write_what_consumers_get(self, client: Client) -> None:
        letter = DeadLetter.objects.filter(resolved_at__isnull=True).first()
        assert letter is not None
        staff = staff_with(client, "view_deadletter", "operate_deadletter")

        text = staff.get(page_of(letter)).text

        assert "decide/requeue/" in text
        assert "decide/resend/" not in text
        form = {"id": letter.pk, "reason": WHY, "changes": "{}"}
        assert staff.post(decide(letter, "resend"), form).status_code == 403

    def test_by_selection(self, page: Client) -> None:
        keys = list(DeadLetter.objects.values_list("pk", flat=True))

        answer = page.post(decide(DeadLetter, "discard"), {"id": keys, "reason": WHY, "back": ""})

        assert told(answer)[0] == "4 of 7 dead letters discarded."
        assert not DeadLetter.objects.filter(resolved_at__isnull=True).exists()
