"""Show one saga whole. Exit codes: 0 shown, 1 there is no such saga, 2 misuse, 3 no connection.

JSON (``--format json``), one object whose keys stay: docs/reference/sagas_show.md lists them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from hodei.redaction import redact, redact_text
from hodei.schema.management.arguments import id_of
from hodei.schema.management.reports import FINE, FOUND, ReportCommand
from hodei.values import printable
from hodei.wording import iso, moment_of, one_line
from sagas.exceptions import SagaNotFound
from sagas.services.inspection import SagaDetail, detail

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

FORMAT_VERSION = 1


class Command(ReportCommand):
    help = (
        "Show one saga: its steps with what they returned, each attempt, and all that happened to "
        "it. Secrets are left out. Exit codes: 0 shown, 1 there is no such saga, 2 misuse, 3 the "
        "database could not be read."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("saga", type=id_of("saga"), metavar="ID", help="The saga's id.")

    def report(self, **options: Any) -> int:
        try:
            found = document(
                options["database"], detail(options["saga"], using=options["database"])
            )
        except SagaNotFound as error:
            raise CommandError(str(error), returncode=FOUND) from error
        if options["format"] == "json":
            self.print_json(found)
        else:
            for line in lines(found):
                self.stdout.write(printable(line))
        return FINE


def document(database: str, found: SagaDetail) -> dict[str, Any]:
    """The JSON report."""
    saga = found.saga
    return {
        "format_version": FORMAT_VERSION,
        "database": database,
        "id": str(saga.pk),
        "kind": saga.saga_type,
        "version": saga.definition_version,
        "state": saga.state,
        "outcome": saga.outcome,
        "waits_for": found.waits_for and redact_text(found.waits_for),
        "error": saga.error_message and redact_text(saga.error_message),
        "input": redact(saga.metadata),
        "key": saga.business_key,
        "correlation_id": saga.correlation_id,
        "actor": saga.actor,
        "started_at": iso(saga.started_at),
        "completed_at": iso(saga.completed_at),
        "deadline_at": iso(saga.deadline_at),
        "due_at": iso(saga.due_at),
        "pause_requested_at": iso(saga.pause_requested_at),
        "cancel_requested_at": iso(saga.cancel_requested_at),
        "lease_owner": saga.lease_owner,
        "lease_until": iso(saga.lease_until),
        "lease_epoch": saga.lease_epoch,
        "lost_leases": saga.lost_leases,
        "locks": [f"{lock.resource_type} {lock.resource_id}" for lock in found.locks],
        "steps": [
            {
                "name": step.step_name,
                "state": step.state,
                "key": str(step.pk),
                "input": redact(step.input_data),
                "output": redact(step.output_data),
                "error": step.error_message and redact_text(step.error_message),
                "started_at": iso(step.started_at),
                "completed_at": iso(step.completed_at),
                "due_at": iso(step.due_at),
                "attempts": 0 if step.started_at is None else step.retry_count + 1,
                "compensation_attempts": step.compensation_attempts,
                "waits": step.waits,
            }
            for step in found.steps
        ],
        "attempts": [
            {
                "step": attempt.step.step_name,
                "direction": attempt.direction,
                "number": attempt.number,
                "runner": attempt.runner,
                "lease_epoch": attempt.lease_epoch,
                "started_at": iso(attempt.started_at),
                "finished_at": iso(attempt.finished_at),
                "error_class": attempt.error_class,
                "error": attempt.error_message and redact_text(attempt.error_message),
            }
            for attempt in found.attempts
        ],
        "events": [
            {
                "at": iso(event.occurred_at),
                "event": event.event_type,
                "step": event.step_name,
                "message": redact_text(event.message or ""),
                "payload": redact(event.payload),
            }
            for event in found.events
        ],
    }


def lines(facts: dict[str, Any]) -> Iterator[str]:
    """The same for a person."""
    yield f"{'saga':20}{facts['id']}"
    yield f"{'kind':20}{facts['kind']} version {facts['version']}"
    yield f"{'state':20}{facts['state']}{', ' if facts['outcome'] else ''}{facts['outcome'] or ''}"
    for name in (
        *("waits_for", "error", "key", "correlation_id", "actor", "started_at", "completed_at"),
        *("deadline_at", "pause_requested_at", "cancel_requested_at"),
    ):
        if facts[name]:
            value = moment_of(facts[name]) if name.endswith("_at") else one_line(facts[name])
            yield f"{name.replace('_', ' '):20}{value}"
    yield f"{'input':20}{json.dumps(facts['input'])}"
    for lock in facts["locks"]:
        yield f"{'lock':20}{lock}"
    yield ""
    width = max([4, *(len(step["name"]) for step in facts["steps"])])
    yield f"{'step':{width}}  {'state':12}  tries  output or error"
    for step in facts["steps"]:
        shown = one_line(step["error"]) or (
            "" if step["output"] is None else json.dumps(step["output"])
        )
        yield f"{step['name']:{width}}  {step['state']:12}  {step['attempts']:>5}  {shown}".rstrip()
    yield ""
    for event in facts["events"]:
        who = (event["payload"] or {}).get("actor")
        why = (event["payload"] or {}).get("reason")
        by = f" (by {who}: {one_line(why)})" if who and why else ""
        at = event["at"][:23].replace("T", " ")
        yield f"{at}  {event['event']:22}  {one_line(event['message'])}{by}"
