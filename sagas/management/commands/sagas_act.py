"""Decide something about a saga. Exit codes: 0 done, 1 refused, or there is no such saga, 2 misuse,
3 no connection."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from hodei.schema.management.decisions import Decision, DecisionCommand, help_of
from sagas.exceptions import ActionRefused, SagaInvalid, SagaNotFound
from sagas.services import actions

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

NEVER = "never"
ACTIONS = {
    "retry": Decision(actions.retry_step, "try a step now", needs=("step",)),
    "skip": Decision(
        actions.skip_step, "go on as if a step was done", needs=("step",), takes=("output",)
    ),
    "mark-done": Decision(
        actions.mark_done, "an UNKNOWN step was done", needs=("step",), takes=("output",)
    ),
    "mark-not-done": Decision(
        actions.mark_not_done, "an UNKNOWN step was not done", needs=("step",)
    ),
    "compensate": Decision(actions.compensate, "turn back from here"),
    "retry-compensation": Decision(
        actions.retry_compensation, "undo PARKED steps once more", takes=("step",)
    ),
    "mark-handled": Decision(
        actions.mark_handled, "a PARKED step was undone by hand", needs=("step",)
    ),
    "pause": Decision(actions.pause, "rest at the next border of a step"),
    "resume": Decision(actions.resume, "go on after a pause"),
    "cancel": Decision(actions.cancel, "turn back, and end CANCELLED"),
    "extend": Decision(actions.extend_deadline, "another deadline", needs=("until",)),
    "release": Decision(actions.release_lease, "take it from a runner that hangs"),
}


class Command(DecisionCommand):
    thing, example = "saga", "the provider says so"
    decisions = ACTIONS
    missing, refused, invalid = SagaNotFound, ActionRefused, SagaInvalid
    help = help_of(
        "Decide something about a saga, with a reason, which its audit keeps.", thing, ACTIONS
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--step",
            metavar="NAME",
            help="The step. retry-compensation without it takes all that are PARKED.",
        )
        parser.add_argument(
            "--output",
            type=_json,
            metavar="JSON",
            help="What the step returned, for skip and mark-done. Without it: null.",
        )
        parser.add_argument(
            "--until",
            type=_until,
            metavar="WHEN",
            help=(
                "The new deadline, for extend: a time (2026-03-31T12:00, in UTC), how long from "
                "now (90m, 12h, 7d), or never."
            ),
        )

    def values(self, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        found = super().values(name, options)
        return {**found, "until": None} if found.get("until") == NEVER else found


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArgumentTypeError(f"{text!r:.80} is no JSON: {error}") from error


def _until(text: str) -> datetime | str:
    if text == NEVER:
        return NEVER
    now = datetime.now(UTC)
    units = {"m": "minutes", "h": "hours", "d": "days"}
    try:
        if text[:-1].isdecimal() and text[-1] in units:
            return now + timedelta(**{units[text[-1]]: int(text[:-1])})
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError, IndexError) as error:
        raise ArgumentTypeError(
            f"{text!r} is no time; give 2026-03-31T12:00 (in UTC), 90m, 12h, 7d, or never."
        ) from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)
