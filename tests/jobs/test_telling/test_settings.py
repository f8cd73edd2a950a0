from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from jobs import checks, telling
from jobs.conf import wanted
from jobs.events import ALL, FINAL, IMPORTANT, JobEvent
from jobs.states import JobState
from tests.jobs.test_telling.kit import CONSOLE, Told


class TestSettings:
    def test_by_default_the_audit_has_what_is_important_and_nothing_is_an_event(
        self, settings: Any
    ) -> None:
        del settings.HODEI_OUTBOX
        assert (wanted().audit, wanted().events) == (IMPORTANT, frozenset())

    @pytest.mark.parametrize(
        ("audit", "events", "expected"),
        [
            ("important", None, FINAL),
            ("all", None, ALL),
            ("all", "final", FINAL),
            ("all", "none", frozenset()),
            ("important", "all", ALL),
        ],
    )
    def test_events_begin_when_a_publisher_is_configured(
        self, settings: Any, audit: str, events: str | None, expected: frozenset[str]
    ) -> None:
        settings.JOBS_AUDIT, settings.JOBS_EVENTS = audit, events
        settings.HODEI_OUTBOX = {"DESTINATIONS": {"default": CONSOLE}}

        assert wanted().events == expected

    @pytest.mark.parametrize("name", ["JOBS_AUDIT", "JOBS_EVENTS"])
    @pytest.mark.parametrize("value", ["some", True, ["all"], ""])
    def test_a_value_that_cannot_be(self, settings: Any, name: str, value: Any) -> None:
        setattr(settings, name, value)

        with pytest.raises(ImproperlyConfigured, match=f"{name} is .*; it is '"):
            wanted()
        (message,) = checks.check_record()
        assert message.id == "jobs.E030"

    def test_an_outbox_that_does_not_know_jobs(self, settings: Any) -> None:
        settings.JOBS_EVENTS = "final"
        settings.HODEI_OUTBOX = {"AGGREGATE_TYPES": ["ORDER", "WORKER", "PROVIDER"]}

        with pytest.raises(ImproperlyConfigured, match=r"has no JOB\. Add them"):
            wanted()

    def test_without_the_outbox(self, settings: Any) -> None:
        settings.INSTALLED_APPS = [
            one for one in settings.INSTALLED_APPS if one not in {"outbox", "sagas"}
        ]
        assert wanted().events == frozenset()

        settings.JOBS_EVENTS = "final"
        with pytest.raises(ImproperlyConfigured, match="outbox, which stores events, is not"):
            wanted()


class TestTexts:
    @pytest.mark.parametrize("name", sorted(telling.TELLS))
    def test_who_wants_nothing_pays_nothing(self, name: str, settings: Any) -> None:
        settings.JOBS_EVENTS = "none"
        plain = telling.text(name, frozenset())

        assert "audit_logs" not in plain
        assert "outbox" not in plain
        assert "told" not in plain
        if name not in {"finish", "rescue"}:
            assert telling.text(name) == plain

    def test_a_batch_that_ended_well_is_written_without_the_audit(self, settings: Any) -> None:
        settings.JOBS_EVENTS = "none"

        assert "audit_logs" in telling.text("finish")
        assert "audit_logs" not in telling.text("finish", telling.UNEVENTFUL)

    def test_one_is_made_once(self, settings: Any) -> None:
        assert telling.text("claim") is telling.text("claim")

    def test_destinations_are_by_the_routes(self, settings: Any) -> None:
        odd = "o'd%d"
        settings.JOBS_EVENTS = "all"
        settings.HODEI_OUTBOX = {
            "DESTINATIONS": {"default": CONSOLE, odd: CONSOLE},
            "ROUTES": {"JobFailed": odd},
        }

        assert "CASE event" in telling.text("finish")
        assert telling.destination("JobFailed") == odd
        assert telling.destination("JobStarted") == "default"


@pytest.mark.django_db
class TestRelayWasNeverSeen:
    def test_w030(self, told: Told, settings: Any) -> None:
        settings.HODEI_OUTBOX = {
            "DESTINATIONS": {"default": CONSOLE, "billing": CONSOLE},
            "ROUTES": {"JobFailed": "billing"},
        }

        found = checks.check_relay(databases=["default"])

        assert [message.id for message in found] == ["jobs.W030"] * 2
        assert "destination 'billing', and no relay of it was ever seen" in found[0].msg
        assert "manage.py outbox_relay" in str(found[0].hint)
        told.execute("INSERT INTO outbox_lanes (destination, lane) VALUES ('billing', 0)")
        (left,) = checks.check_relay(databases=["default"])
        assert "'default'" in left.msg
        settings.JOBS_EVENTS = "none"
        assert checks.check_relay(databases=["default"]) == []

    def test_it_asks_no_database_that_was_not_named(self, settings: Any) -> None:
        settings.JOBS_EVENTS = "final"

        assert checks.check_relay() == []
        assert checks.check_relay(databases=["other"]) == []


def test_every_state_has_its_word() -> None:
    """A state that is added is told of, or this fails."""
    words = {
        JobState.CREATED: None,  # never written
        JobState.SCHEDULED: None,
        JobState.PENDING: JobEvent.ENQUEUED,
        JobState.ASSIGNED: JobEvent.ASSIGNED,
        JobState.RUNNING: JobEvent.STARTED,
        JobState.SUCCEEDED: JobEvent.SUCCEEDED,
        JobState.FAILED: JobEvent.FAILED,
        JobState.CANCELLED: JobEvent.CANCELLED,
        JobState.TIMEOUT: JobEvent.TIMED_OUT,
        JobState.MANUAL_INTERVENTION_REQUIRED: JobEvent.HELD,
    }
    assert set(words) == set(JobState)
