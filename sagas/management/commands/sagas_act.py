"""Decide something about a saga. Exit codes: 0 done, 1 refused, or there is no such saga, 2 misuse,
3 no connection."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError
from django.db import transaction

from hodei.schema.management.reports import FINE, FOUND, MISUSE, ActionCommand
from jobs.management.actor import actor
from sagas.exceptions import ActionRefused, SagaInvalid, SagaNotFound
from sagas.management.commands.sagas_show import saga_id
from sagas.services import actions

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

NEVER = "never"
#: Words of the command, the functions, and which further options they take.
ACTIONS: dict[str, tuple[Callable[..., str], tuple[str, ...], str]] = {
    "retry": (actions.retry_step, ("step",), "try a step now"),
    "skip": (actions.skip_step, ("step", "output"), "go on as if a step was done"),
    "mark-done": (actions.mark_done, ("step", "output"), "an UNKNOWN step was done"),
    "mark-not-done": (actions.mark_not_done, ("step",), "an UNKNOWN step was not done"),
    "compensate": (actions.compensate, (), "turn back from here"),
    "retry-compensation": (
        actions.retry_compensation,
        ("step?",),
        "undo PARKED steps once more",
    ),
    "mark-handled": (actions.mark_handled, ("step",), "a PARKED step was undone by hand"),
    "pause": (actions.pause, (), "rest at the next border of a step"),
    "resume": (actions.resume, (), "go on after a pause"),
    "cancel": (actions.cancel, (), "turn back, and end CANCELLED"),
    "extend": (actions.extend_deadline, ("until",), "another deadline"),
    "release": (actions.release_lease, (), "take it from a runner that hangs"),
}


class Command(ActionCommand):
    help = (
        "Decide something about a saga, with a reason, which its audit keeps. Actions: "
        + "; ".join(f"{name}: {what}" for name, (_, _, what) in ACTIONS.items())
        + ". Exit codes: 0 done, 1 refused, or there is no such saga, 2 misuse, 3 the database "
        "could not be used."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("saga", type=saga_id, metavar="ID", help="The saga's id.")
        parser.add_argument(
            "action", choices=list(ACTIONS), metavar="ACTION", help=f"One of: {', '.join(ACTIONS)}."
        )
        parser.add_argument("--reason", metavar="TEXT", help="Why, for the audit. Always needed.")
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

    def report(self, **options: Any) -> int:
        name = options["action"]
        act, wanted, _ = ACTIONS[name]
        if not (options["reason"] or "").strip():
            raise CommandError('Say why: --reason "the provider says so".', returncode=MISUSE)
        values = self._values(name, wanted, options)
        using = options["database"]
        try:
            with transaction.atomic(using=using):
                said = act(
                    options["saga"], **values, reason=options["reason"], actor=actor(), using=using
                )
                if options["dry_run"]:
                    transaction.set_rollback(True, using=using)
        except SagaNotFound as error:
            raise CommandError(str(error), returncode=FOUND) from error
        except ActionRefused as error:
            raise CommandError(f"{error} Nothing was changed.", returncode=FOUND) from error
        except SagaInvalid as error:
            raise CommandError(str(error), returncode=MISUSE) from error
        self.stdout.write(f"{said}." if not said.endswith(".") else said)
        if options["dry_run"]:
            self.stderr.write("Nothing was changed: it would have been (--dry-run).")
        return FINE

    def _values(
        self, name: str, wanted: tuple[str, ...], options: dict[str, Any]
    ) -> dict[str, Any]:
        """The options that the action takes. Raises CommandError for others, and for missing."""
        allowed = {word.rstrip("?") for word in wanted}
        for option in ("step", "output", "until"):
            if options[option] is not None and option not in allowed:
                raise CommandError(f"{name} takes no --{option}.", returncode=MISUSE)
        for option in wanted:
            if options.get(option) is None and option in {"step", "until"}:
                raise CommandError(f"{name} needs --{option}.", returncode=MISUSE)
        values = {option: options[option] for option in allowed if options[option] is not None}
        if values.get("until") == NEVER:
            values["until"] = None
        return values


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
