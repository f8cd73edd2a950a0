"""Pure: the times of a cron expression in a time zone. The expressions are cronsim's, which has the
rules of Debian's cron for daylight saving.

An expression for certain hours (``30 2 * * *``) runs once a day, whatever the clock does: where its
time is skipped it runs when the clock has been put forward, and where its time comes twice it runs
the first time. One for every hour (``30 * * * *``) runs every real hour.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from hodei.values import shown

LONGEST_CRON, LONGEST_ZONE = 100, 64


class CronInvalid(ValueError):  # noqa: N818  (it reads as the fact it states)
    """It is no cron expression, or no time zone. The text names the value and the rule."""


def check(cron: object, time_zone: object) -> None:
    """Raise CronInvalid for what has no times."""
    next(times(cron, time_zone, after=datetime(2026, 1, 1, tzinfo=UTC)), None)


def times(cron: object, time_zone: object, *, after: datetime) -> Iterator[datetime]:
    """Yield the times after this one, in UTC, for ever; it ends where there is none in fifty years.
    Raises CronInvalid at once."""
    if not isinstance(time_zone, str) or not 1 <= len(time_zone) <= LONGEST_ZONE:
        raise CronInvalid(f"time_zone is {shown(time_zone)}; it is a name like Europe/Madrid.")
    if not isinstance(cron, str) or len(cron) > LONGEST_CRON or len(cron.split()) != 5:
        raise CronInvalid(
            f"cron is {shown(cron)}; it is five fields: minute, hour, day, month and weekday, in "
            f"at most {LONGEST_CRON} characters."
        )
    try:
        zone = ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise CronInvalid(
            f"time_zone is {shown(time_zone)}, which nobody knows; it is a name like Europe/Madrid."
        ) from error
    # In UTC itself cronsim has nothing to correct, and is quicker.
    local = after.astimezone(UTC if time_zone == "UTC" else zone)
    try:
        found = CronSim(cron, local)
    except CronSimError as error:
        raise CronInvalid(f"cron is {shown(cron)}: {str(error).lower()}.") from error
    return _in_utc(found, after)


def _in_utc(found: Iterator[datetime], after: datetime) -> Iterator[datetime]:
    last = after
    for local in found:
        instant = local.astimezone(UTC)
        # In the hour that comes twice its local clock goes back: what has passed is not due again.
        if instant > last:
            last = instant
            yield instant
