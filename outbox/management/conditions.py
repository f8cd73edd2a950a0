"""The options that say which dead letters are meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hodei.schema.management.arguments import past, whole
from hodei.values import shown
from outbox.keys import aggregate_of
from outbox.services.dead_letters import LetterFilter
from outbox.services.dead_letters.bulk import MOST_ACTED

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

    from outbox.states import DeadLetterState

#: The conditions, by their destinations.
CONDITIONS = (
    *("error_class", "event_type", "aggregate", "destination", "fingerprint", "since", "before"),
    "requeued",
)


def add_conditions(parser: CommandParser) -> None:
    """Which dead letters: all of these conditions together."""
    group = parser.add_argument_group("conditions", "Which dead letters: those that fit them all.")
    group.add_argument("--class", dest="error_class", metavar="NAME", help="Of this error class.")
    group.add_argument("--type", dest="event_type", metavar="NAME", help="Of this event type.")
    group.add_argument(
        "--aggregate",
        metavar="TYPE[/KEY]",
        help="Of this type of aggregate, or of this one aggregate: ORDER, ORDER/4711.",
    )
    group.add_argument("--destination", metavar="NAME", help="That were to go there.")
    group.add_argument(
        "--fingerprint",
        metavar="DIGITS",
        help="That failed in the same way: the beginning of a fingerprint, as outbox_stats has it.",
    )
    when = "a date (2026-03-31), a time in UTC (2026-03-31T12:00), or how long ago (90m, 12h, 7d)"
    group.add_argument(
        "--since", type=past, metavar="WHEN", help=f"That died then or later: {when}."
    )
    group.add_argument(
        "--before", type=past, metavar="WHEN", help="That died before then; like --since."
    )
    group.add_argument(
        "--requeued",
        type=whole("times", most=MOST_ACTED),
        metavar="N",
        help="That were requeued N times or more often.",
    )


def is_limited(options: dict[str, Any]) -> bool:
    return any(options[name] is not None for name in CONDITIONS)


def filter_of(options: dict[str, Any], state: DeadLetterState | None) -> LetterFilter:
    """The conditions as a filter. Raises ValueError."""
    aggregate = options["aggregate"]
    aggregate_type, slash, key = (aggregate or "").partition("/")
    if aggregate is not None and not aggregate_type:
        # Without a type it would be no condition, and every dead letter would fit.
        raise ValueError(f"--aggregate is {shown(aggregate)}; give TYPE or TYPE/KEY.")
    return LetterFilter(
        state=state,
        error_class=options["error_class"],
        event_type=options["event_type"],
        aggregate_type=aggregate_type or None,
        aggregate_id=aggregate_of(aggregate_type, key).id if slash else None,
        destination=options["destination"],
        fingerprint=options["fingerprint"],
        since=options["since"],
        before=options["before"],
        requeued=options["requeued"] or 0,
    )
