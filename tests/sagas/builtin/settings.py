"""The project's settings with everything on record: all transitions, as audit and as events."""

from __future__ import annotations

from hodei.settings import *  # noqa: F403

HODEI_OUTBOX = {
    "DESTINATIONS": {"default": {"PUBLISHER": "outbox.publishers.console.ConsolePublisher"}}
}
JOBS_AUDIT = "all"
JOBS_EVENTS = "all"
