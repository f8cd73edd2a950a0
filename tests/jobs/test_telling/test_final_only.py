from __future__ import annotations

from typing import Any

import pytest

from jobs.runs import Cancelled, Snoozed, Succeeded, TimedOut
from jobs.services import lifecycle
from jobs.services.queue import enqueue, enqueue_many
from jobs.spec import NewJob
from tests.jobs.test_telling.kit import CONSOLE, WHO, Told, failed

SECRETS = ("hunter2", "s3cr3t", "tok-123456789")


@pytest.mark.django_db
class TestFinalOnly:
    def test_ends_are_events_and_the_rest_is_not(self, told: Told, settings: Any) -> None:
        settings.HODEI_OUTBOX = {"DESTINATIONS": {"default": CONSOLE}}
        for _ in range(4):
            told.enqueue()
        told.end(Succeeded(), failed(), TimedOut("late", retryable=False), Snoozed(9.0))
        lifecycle.cancel(told.enqueue(), **WHO)

        ends = ["JobCancelled", "JobFailed", "JobSucceeded", "JobTimedOut"]
        assert sorted(told.events()) == ends
        assert sorted(told.audit()) == [one for one in ends if one != "JobSucceeded"]

    def test_defect_3_5_without_events_failures_and_cancellations_are_on_record(
        self, told: Told, settings: Any
    ) -> None:
        for _ in range(4):
            told.enqueue()
        told.end(Succeeded(), failed(), Cancelled(), failed(retryable=True))

        assert told.events() == []
        assert sorted(told.audit()) == ["JobCancelled", "JobFailed"]

    def test_so_are_the_jobs_that_were_given_up(self, told: Told) -> None:
        told.enqueue()
        told.execute("UPDATE jobs SET lost_leases = 4")
        told.claim()
        told.lose()

        assert told.audit() == ["JobFailed"]

    def test_so_are_those_that_would_have_run_again(self, told: Told, settings: Any) -> None:
        settings.HODEI_OUTBOX = {"DESTINATIONS": {"default": CONSOLE}}
        told.enqueue()
        held = told.claim()
        lifecycle.cancel(held[0].id, **WHO)
        told.end(failed(retryable=True), jobs=held)

        assert told.audit() == ["JobCancelRequested", "JobCancelled"]
        assert told.events() == ["JobCancelled"]


@pytest.mark.django_db
class TestSecrets:
    def test_they_are_in_no_record_and_in_no_event(self, told: Told, everything: None) -> None:
        spec = {"test": {"do": "x", "password": SECRETS[0], "env": {"API_KEY": SECRETS[1]}}}
        named = "postgresql://me:hunter2@host/db"
        job = enqueue(spec=spec, name=named, metadata={"token": SECRETS[2]}).id
        enqueue_many([NewJob(spec=spec, name=f"Bearer {SECRETS[2]}")])
        told.end(
            failed(message=f"could not reach {named} with password={SECRETS[1]}"),
            Succeeded({"token": SECRETS[2], "text": f"Bearer {SECRETS[2]}"}),
        )
        lifecycle.retry(job, reason=f"again, with password={SECRETS[1]}", actor=named)
        told.end(failed(retryable=True, message=f"Authorization: Bearer {SECRETS[2]}"))

        for table in ("audit_logs", "outbox_events"):
            text = " ".join(row[0] for row in told.rows(f"SELECT {table}::text FROM {table}"))
            assert "JobFailed" in text
            assert "[redacted]" in text
            assert [secret for secret in SECRETS if secret in text] == [], table
