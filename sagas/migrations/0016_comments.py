"""What every table and column means, for whoever looks at the database without us."""

from __future__ import annotations

from django.db import migrations

from hodei.schema.operations import AlterComments


class Migration(migrations.Migration):
    dependencies = [("sagas", "0015_append_only_audit")]

    operations = [
        AlterComments(
            "saga",
            table="Runs of saga definitions, from start to outcome",
            columns={
                "id": "Id of the saga",
                "saga_type": "Kind: the name of its definition",
                "state": "Direction and end; COMPENSATING never turns forward again",
                "correlation_id": "Common to all that belongs together",
                "actor": "Who started it",
                "started_at": "When it was started",
                "completed_at": "When it reached its end",
                "error_message": "Why it turned back or failed",
                "metadata": "Its input, and what a repair kept",
                "created_at": "When the row was written",
                "updated_at": "When it was changed last",
                "outcome": "How it ended: tells a rollback from success; NULL while it is live",
                "definition_version": "Version of the definition it was started with",
                "steps_hash": "SHA-256 of that definition's steps",
                "business_key": "One live saga per kind and key; NULL is no limit",
                "deadline_at": "It turns back if it is not done by then",
                "pause_requested_at": "Rests at the next step border; NULL is not paused",
                "cancel_requested_at": "Compensates from the next step border",
                "lease_owner": "The runner that drives it",
                "lease_epoch": "Grows with each lease; a write with an older one does nothing",
                "lease_until": "End of the lease; NULL is free",
                "trace_parent": "W3C traceparent of the starting code",
                "due_at": "When a runner takes it next; the end of a lease; NULL is not by itself",
                "incident": "Why it waits for a person; NULL is that it does not",
            },
        ),
        AlterComments(
            "sagastep",
            table="Steps of sagas, stored before and after they act",
            columns={
                "id": "Id of the step, and its idempotency key towards others",
                "saga": "The saga; its steps go with it",
                "step_name": "Name in the definition",
                "step_order": "Place in the definition",
                "state": "Where the step is; UNKNOWN is done or not, nobody has said",
                "input_data": "What its action got",
                "output_data": "What its action returned",
                "compensation_data": "What its compensation returned",
                "started_at": "Begin of the first attempt",
                "completed_at": "When its action was done",
                "error_message": "The newest failure",
                "retry_count": "Attempts after the first",
                "compensation_attempts": "How often its compensation was begun",
                "verifications": "How often its verification could not tell",
                "waits": "How often the present attempt asked to be called later",
                "due_at": "Not to be tried again before; NULL is at once",
                "timeout_at": "By when the present call has to be back",
                "deadline_at": "By when all its attempts together have to be over",
                "created_at": "When the row was written",
                "updated_at": "When it was changed last",
            },
        ),
        AlterComments(
            "sagastepattempt",
            table="Tries of steps and of their compensations",
            columns={
                "id": "Order of the attempts",
                "step": "The step; its attempts go with it",
                "direction": "Which half of the step was tried",
                "number": "1 for the first try in that direction",
                "lease_epoch": "Lease of the saga under which it ran",
                "runner": "The runner that tried",
                "started_at": "When it began",
                "finished_at": "When it came back; NULL after a crash",
                "error_class": "Class of the failure",
                "error_message": "Text of the failure",
            },
        ),
        AlterComments(
            "sagalock",
            table="Resources that live sagas hold, one holder each",
            columns={
                "id": "Meaningless number",
                "resource_type": "Kind of the resource",
                "resource_id": "Which one",
                "saga": "The holder; its locks go with it",
                "acquired_at": "Since when",
            },
        ),
        AlterComments(
            "sagaauditevent",
            table="What happened to sagas; append-only but for retention",
            columns={
                "id": "Id of the record",
                "saga": "sagas.id; the saga may be gone",
                "event_type": "What happened",
                "step_name": "To which step; NULL is the saga",
                "message": "In words, for people",
                "payload": "Actor, reason, before and after",
                "occurred_at": "When it happened",
            },
        ),
    ]
