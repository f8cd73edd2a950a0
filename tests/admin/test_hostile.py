"""Whatever is stored, pages show it as text, hide its secrets, and come back."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from hodei.admin.rendering import SHOWN_LIMIT
from jobs.models import BootstrapToken, Job, Provider
from outbox.models import DeadLetter, DeadLetterActionRecord
from sagas.models import Saga, SagaAuditEvent, SagaStep
from tests.admin.pages import list_of, page_of

pytestmark = pytest.mark.django_db

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>"
TURNED = "\u202eevil\u2066 \u0627\u0644\u0639\u0631\u0628\u064a\u0629 \x7f\x1b[31m"


def dead_letter(**values: Any) -> DeadLetter:
    return DeadLetter.objects.create(
        **{
            "original_event_id": uuid.uuid4(),
            "aggregate_id": uuid.uuid4(),
            "aggregate_type": "JOB",
            "event_type": "JobFailed",
            "payload": {},
            "error_message": "broken",
            "retry_count": 8,
            "original_created_at": datetime(2026, 1, 1, tzinfo=UTC),
            **values,
        }
    )


@pytest.mark.parametrize("text", [SCRIPT, TURNED, "'\"&amp;{{ 7 }}{% now %}", "{} {0} %s %(x)s"])
def test_text_stays_text(page: Client, text: str) -> None:
    letter = dead_letter(
        aggregate_type=text[:20],
        event_type=text[:50],
        payload={text: [text, {"deep": text}]},
        metadata=[text],
        error_message=f"{text}\n{text}",
        error_class=text,
        resolved_at=datetime(2026, 1, 2, tzinfo=UTC),
        resolved_by=text[:100],
        resolution_notes=text,
        destination=text[:50],
        idempotency_key=text[:100],
        aggregate_key=text,
        fingerprint=text[:64],
    )
    DeadLetterActionRecord.objects.create(
        dead_letter=letter, action="DIED", actor=text, note=text, details={"why": text}
    )

    for address in (list_of(DeadLetter), page_of(letter), list_of(DeadLetterActionRecord)):
        answer = page.get(address)

        assert answer.status_code == 200
        assert "<script>alert" not in answer.text
        assert "<img src=x" not in answer.text


def test_a_large_payload_is_cut_and_the_page_says_so(page: Client) -> None:
    letter = dead_letter(payload={"text": "x" * 1_048_576}, error_message="e" * 1_048_576)

    assert len(page.get(list_of(DeadLetter)).content) < 60_000
    text = page.get(page_of(letter)).text

    assert len(text) < 4 * SHOWN_LIMIT
    assert f"Cut: the first {SHOWN_LIMIT:,} of 1,048," in text


def test_a_payload_beyond_reading_is_not_read(page: Client) -> None:
    letter = dead_letter(payload=["x" * 1_000_000] * 5)

    text = page.get(page_of(letter)).text

    assert "bytes of JSON: too large to be shown here." in text


@pytest.mark.parametrize("depth", [70, 900, 1_500, 5_000])
def test_deep_nesting_neither_breaks_nor_shows_a_secret(page: Client, depth: int) -> None:
    letter = dead_letter()
    deep = '{"a":' * depth + '{"password":"hunter2"}' + "}" * depth
    with connection.cursor() as cursor:
        cursor.execute("UPDATE outbox_dlq SET payload = %s::jsonb WHERE id = %s", [deep, letter.id])

    answer = page.get(page_of(letter))

    assert answer.status_code == 200
    assert "nested too deeply to be shown" in answer.text
    assert "hunter2" not in answer.text


def test_numbers_that_python_refuses(page: Client) -> None:
    letter = dead_letter()
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE outbox_dlq SET payload = %s::jsonb WHERE id = %s",
            ['{"n": ' + "9" * 9_000 + ', "e": 1e400}', letter.id],
        )

    answer = page.get(page_of(letter))

    assert answer.status_code == 200
    assert "9" * 9_000 in answer.text


@pytest.mark.parametrize("value", ["text", 0, False, [], {}, ["list"], None])
def test_json_of_any_kind_has_a_page(page: Client, value: Any) -> None:
    letter = dead_letter(payload={}, metadata=value)

    assert page.get(page_of(letter)).status_code == 200


class TestSecrets:
    def test_are_not_on_the_pages_of_jobs_and_providers(self, page: Client) -> None:
        provider = Provider.objects.create(
            name="cloud",
            provider_type="docker",
            config={"registry": {"password": "hunter2"}, "url": "https://u:hunter2@h.example/"},
        )
        job = Job.objects.create(
            state="FAILED",
            spec={"env": [{"name": "API_KEY", "value": "hunter2"}], "args": ["--token=hunter2"]},
            error_message="cannot connect: password=hunter2 host=db",
            selected_provider=provider,
        )

        for row in (provider, job):
            text = page.get(page_of(row)).text

            assert "hunter2" not in text
            assert "[redacted]" in text

    def test_the_hash_of_a_token_is_never_read(self, page: Client) -> None:
        token = BootstrapToken.objects.create(
            worker_id=uuid.uuid4(),
            expires_at=datetime(2027, 1, 1, tzinfo=UTC),
            secret_hash="f00d" * 16,
        )

        for address in (list_of(BootstrapToken), page_of(token)):
            assert "f00d" not in page.get(address).text

    def test_are_not_in_panels(self, page: Client) -> None:
        saga = Saga.objects.create(saga_type="EXECUTION", metadata={"token": "hunter2"})
        SagaStep.objects.create(
            saga=saga, step_name="one", step_order=0, input_data={"password": "hunter2"}
        )
        SagaAuditEvent.objects.create(
            saga=saga, event_type="X", payload={"secret": "hunter2"}, message="dsn=hunter2"
        )

        text = page.get(page_of(saga)).text

        assert "hunter2" not in text
        assert text.count("[redacted]") == 4


def test_an_audit_event_outlives_its_saga(page: Client) -> None:
    event = SagaAuditEvent.objects.create(saga_id=uuid.uuid4(), event_type="SAGA_COMPLETED")

    listed, shown = page.get(list_of(SagaAuditEvent)), page.get(page_of(event))

    assert str(event.saga_id) in listed.text
    assert "is gone" in shown.text


def test_a_page_that_is_gone_says_so(page: Client) -> None:
    for key in (uuid.uuid4(), "nonsense", "9" * 40):
        answer = page.get(page_of(DeadLetter(pk=key)), follow=True)

        assert answer.status_code == 200
        assert "exist" in answer.text


def test_json_that_is_shown_is_the_json_that_is_stored(page: Client) -> None:
    payload = {"ключ": "значение", "n": 1.5, "list": [1, None, True], "quote": '"'}
    letter = dead_letter(payload=payload)

    text = page.get(page_of(letter)).text

    start = text.index("{\n", text.index("Payload")) if "{\n" in text else -1
    shown = text[start : text.index("</pre>", start)]
    assert json.loads(shown.replace("&quot;", '"')) == payload
