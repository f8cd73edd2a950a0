"""Decide something about a job. Exit codes: 0 done, 1 refused, or there is no such job, 2 misuse,
3 no connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hodei.schema.management.decisions import Decision, DecisionCommand, help_of
from jobs.management.arguments import PRIORITIES, priority
from jobs.services import decisions
from jobs.services.lifecycle import JobNotFound, JobStateConflict
from jobs.spec import JobInvalid

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

ACTIONS = {
    "cancel": Decision(
        decisions.cancel, "stop it, at once or by its worker, which hears of it in ten seconds"
    ),
    "retry": Decision(
        decisions.retry, "let a failed one run again (jobs_requeue does it for many, by a filter)"
    ),
    "hold": Decision(decisions.hold, "keep one that has not begun from running"),
    "release": Decision(decisions.release, "let a held one go back into its queue"),
    "set-priority": Decision(
        decisions.set_priority,
        "let one that waits go before others of its queue, or after them",
        needs=("priority",),
    ),
    "delete": Decision(
        decisions.delete, "remove it with its logs and result, for good; the audit stays"
    ),
}


class Command(DecisionCommand):
    thing, example = "job", "it was ordered twice"
    decisions = ACTIONS
    missing, refused, invalid = JobNotFound, JobStateConflict, JobInvalid
    help = help_of(
        "Decide something about a job, with a reason, which the audit keeps.", thing, ACTIONS
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--priority",
            type=priority,
            metavar="N",
            help=f"For set-priority: {PRIORITIES}; higher runs first within its queue.",
        )
