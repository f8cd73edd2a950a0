"""What is decided about workers and providers."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from jobs.models import AuditRecord, Provider, Worker
from tests.admin.deciding import WHY, decide, job, told
from tests.admin.pages import page_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sample")]


class TestWorkersAndProviders:
    def test_a_worker_is_drained(self, page: Client) -> None:
        worker = Worker.objects.filter(state="READY").first()
        assert worker is not None

        answer = page.post(decide(worker, "drain"), {"id": worker.pk, "reason": WHY})

        assert told(answer) == ["It finishes what it runs, takes nothing more, and ends."]
        assert Worker.objects.get(pk=worker.pk).state == "DRAINING"

    def test_a_worker_is_terminated_and_its_jobs_given_back(self, page: Client) -> None:
        held = job("settlement 2291")
        worker = Worker.objects.get(pk=held.worker_id)

        answer = page.post(decide(worker, "terminate"), {"id": worker.pk, "reason": WHY})

        assert told(answer)[0].startswith("Ended, and its jobs given back: ")
        assert Worker.objects.get(pk=worker.pk).state == "TERMINATED"

    def test_a_provider_is_disabled_and_enabled(self, page: Client) -> None:
        provider = Provider.objects.get(name="k8s-eu-west")

        for name, status in (("disable", "DISABLED"), ("enable", "ACTIVE")):
            assert name in page.get(page_of(provider)).text
            answer = page.post(decide(provider, name), {"id": provider.pk, "reason": WHY})
            assert told(answer) == [f"It is {status} now."]
            assert Provider.objects.get(pk=provider.pk).status == status


class TestChangingProviders:
    def changed(self, page: Client, provider: Provider, **given: Any) -> str:
        answer = page.post(decide(provider, "change"), {"id": provider.pk, "reason": WHY, **given})
        return told(answer)[-1] if answer.status_code == 302 else answer.text

    def test_what_is_given_is_different_and_secrets_stay(self, page: Client) -> None:
        provider = Provider.objects.get(name="k8s-eu-west")
        before = dict(provider.config)

        said = self.changed(
            page,
            provider,
            max_workers="7",
            config='{"image": "runner:2.5", "namespace": null, "registry": {"user": "push"}}',
        )

        assert said == "Changed. Workers that it has already go on as they are."
        provider.refresh_from_db()
        assert provider.max_workers == 7
        assert provider.priority == 20
        assert provider.status == "ACTIVE"
        assert (provider.tags, provider.metadata) == (["cpu", "eu"], {"owner": "platform"})
        assert provider.config == {
            "image": "runner:2.5",
            "service_account": before["service_account"],
            "registry": {**before["registry"], "user": "push"},
        }
        record = AuditRecord.objects.get(event_type="ProviderSaved", actor="admin:admin")
        assert record.payload["reason"] == WHY

    def test_the_form_shows_no_secret(self, page: Client) -> None:
        provider = Provider.objects.get(name="k8s-eu-west")

        assert "example-only" not in page.get(decide(provider, "change")).text

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({}, "Nothing is given"),
            ({"config": "{"}, "Enter a valid JSON"),
            ({"config": "[1]"}, "are a JSON object"),
            ({"config": '{"registry": {"password": "[redacted]"}}'}, "as pages show secrets"),
            ({"config": '{"a": "\\u0000"}'}, "config"),
            ({"max_workers": "0"}, "greater than or equal to 1"),
            ({"priority": "1000001"}, "less than or equal to"),
        ],
    )
    def test_what_is_none_is_refused(self, page: Client, given: dict[str, str], words: str) -> None:
        provider = Provider.objects.get(name="k8s-eu-west")
        before = Provider.objects.filter(pk=provider.pk).values().get()

        assert words in self.changed(page, provider, **given)

        assert Provider.objects.filter(pk=provider.pk).values().get() == before
        assert not AuditRecord.objects.filter(actor="admin:admin").exists()
