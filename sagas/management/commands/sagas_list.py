"""List sagas. Exit codes: 0 fine, 2 misuse, 3 the database could not be read.

JSON (``--format json``), one object whose keys stay: docs/reference/sagas_list.md lists them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from hodei.redaction import redact_text
from hodei.schema.management.lists import ListCommand
from hodei.wording import age, iso, one_line
from sagas.services.inspection import MOST_FOUND, Listed, SagaFilter, find
from sagas.states import SagaOutcome, SagaState

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(ListCommand):
    things, most = "sagas", MOST_FOUND
    help = (
        "List sagas, the newest first: how far each is, and what it waits for. Exit codes: 0 fine, "
        "2 misuse, 3 the database could not be read."
    )

    def add_filters(self, parser: CommandParser) -> None:
        parser.add_argument("--kind", metavar="KIND", help="Only sagas of this kind.")
        parser.add_argument(
            "--state",
            choices=[state.value for state in SagaState],
            metavar="STATE",
            help=f"Only sagas in this state: {', '.join(SagaState)}.",
        )
        parser.add_argument(
            "--outcome",
            choices=[outcome.value for outcome in SagaOutcome],
            metavar="OUTCOME",
            help=f"Only sagas that ended so: {', '.join(SagaOutcome)}.",
        )
        parser.add_argument("--live", action="store_true", help="Only sagas that have not ended.")
        parser.add_argument(
            "--needs-a-person", action="store_true", help="Only sagas that wait for a person."
        )
        parser.add_argument("--correlation-id", metavar="ID", help="Only sagas that belong to it.")
        parser.add_argument("--key", metavar="KEY", help="Only the live sagas with this key.")

    def find(self, options: dict[str, Any]) -> Sequence[Listed]:
        wanted = SagaFilter(
            kind=options["kind"],
            state=options["state"] and SagaState(options["state"]),
            outcome=options["outcome"] and SagaOutcome(options["outcome"]),
            correlation_id=options["correlation_id"],
            key=options["key"],
            live=options["live"],
            needs_a_person=options["needs_a_person"],
        )
        return find(wanted, limit=options["limit"], using=options["database"])

    def document(self, one: Listed) -> dict[str, Any]:
        saga = one.saga
        return {
            "id": str(saga.pk),
            "kind": saga.saga_type,
            "version": saga.definition_version,
            "state": saga.state,
            "outcome": saga.outcome,
            "steps_done": one.done,
            "steps": one.total,
            "started_at": iso(saga.started_at),
            "completed_at": iso(saga.completed_at),
            "deadline_at": iso(saga.deadline_at),
            "key": saga.business_key,
            "correlation_id": saga.correlation_id,
            "waits_for": one.waits_for and redact_text(one.waits_for),
            "error": saga.error_message and redact_text(saga.error_message),
        }

    def lines(self, found: Sequence[Listed]) -> Iterator[str]:
        if not found:
            yield "No saga matches."
            return
        width = max(4, *(len(one.saga.saga_type) for one in found))
        yield f"{'id':36}  {'kind':{width}}  {'state':19}  {'steps':>7}  {'age':>10}"
        for one in found:
            saga = one.saga
            state = saga.outcome or saga.state
            steps = f"{one.done}/{one.total}"
            seconds = ((saga.completed_at or one.now) - saga.started_at).total_seconds()
            yield f"{saga.pk}  {saga.saga_type:{width}}  {state:19}  {steps:>7}  {age(seconds):>10}"
            if one.waits_for:
                yield f"    waits for {one_line(one.waits_for)}"
