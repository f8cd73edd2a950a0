"""The options of commands that delete what is old: each a number of days, or never."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from hodei.values import LONGEST_KEPT

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

STOPPED = "Stopped. What was deleted stays deleted; call it again to go on."


def add_ages(parser: CommandParser, ages: Mapping[str, tuple[str, timedelta | None]]) -> None:
    """``ages``: names of options, what each is about, and its default; None is never."""
    for name, (what, default) in ages.items():
        days = "never" if default is None else default.days
        parser.add_argument(
            f"--{name}",
            type=age,
            default=default,
            metavar="DAYS",
            help=f"Delete {what} after so many days, or never. Without it: {days}.",
        )


def age(text: str) -> timedelta | None:
    if text == "never":
        return None
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not 0 <= days <= LONGEST_KEPT.days:
        raise ArgumentTypeError(
            f"{text!r} is no number of days; give 0 to {LONGEST_KEPT.days}, or never."
        )
    return timedelta(days=days)
