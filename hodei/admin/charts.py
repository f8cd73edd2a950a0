"""Bars of the last hour, drawn here: SVG without a style or a script, and the same in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone
from django.utils.html import format_html, format_html_join

from hodei.admin.parts import Chart
from hodei.minutes import Minute

#: Units of the picture, which is stretched to whatever room it has: of a bar, and of its height.
STEP, HEIGHT = 12, 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A chart for a template."""

    title: str
    svg: str
    summary: str
    #: The number that the highest bar stands for, and the times at both ends and in the middle.
    top: str
    times: Sequence[str]
    kinds: Mapping[str, str]
    #: Kinds and numbers of the minutes in which there was anything, the newest first.
    rows: Sequence[tuple[str, Sequence[int], str]]


def draw(chart: Chart) -> Drawing:
    """Pure: the picture, and what it says."""
    minutes, kinds = chart.minutes, list(chart.series)
    summary = summary_of(minutes)
    highest = max((minute.total for minute in minutes), default=0)
    return Drawing(
        title=chart.title,
        svg=_svg(minutes, chart.series, max(highest, 1), f"{chart.title}. {summary}"),
        summary=summary,
        top=_number(max(minutes, key=lambda one: one.total)) if highest else "0",
        times=[_clock(minutes[place].began) for place in (0, len(minutes) // 2, -1)]
        if minutes
        else [],
        kinds=chart.series,
        rows=[
            (_clock(one.began), [one.numbers.get(kind, 0) for kind in kinds], _number(one))
            for one in reversed(minutes)
            if one.total
        ],
    )


def summary_of(minutes: Sequence[Minute]) -> str:
    """Pure: the hour in a sentence."""
    total = sum(minute.total for minute in minutes)
    if not total:
        return "None in the last hour."
    highest = max(minutes, key=lambda minute: minute.total)
    more = " or more" if any(minute.is_capped for minute in minutes) else ""
    return (
        f"{total:,}{more} in the last hour; "
        f"the most in a minute were {_number(highest)}, at {_clock(highest.began)}."
    )


def _svg(minutes: Sequence[Minute], series: Mapping[str, str], top: int, words: str) -> str:
    bars = format_html_join(
        "",
        '<rect class="hodei-bar hodei-{}" x="{}" y="{}" width="{}" height="{}"/>',
        (
            (tone, place * STEP + 1, *_span(minute, list(series), kind, top))
            for place, minute in enumerate(minutes)
            for kind, tone in series.items()
            if minute.numbers.get(kind)
        ),
    )
    return format_html(
        '<svg class="hodei-chart" role="img" aria-label="{}" viewBox="0 0 {} {}" '
        'preserveAspectRatio="none">{}</svg>',
        *(words, max(len(minutes), 1) * STEP, HEIGHT, bars),
    )


def _span(minute: Minute, kinds: Sequence[str], kind: str, top: int) -> tuple[str, int, str]:
    """Where the part of a bar begins, its width and height; parts stand on one another."""
    below = sum(minute.numbers.get(one, 0) for one in kinds[: kinds.index(kind)])
    height = minute.numbers[kind] * HEIGHT / top
    return f"{HEIGHT - below * HEIGHT / top - height:.2f}", STEP - 2, f"{height:.2f}"


def _number(minute: Minute) -> str:
    return f"{minute.total:,}{' or more' if minute.is_capped else ''}"


def _clock(at: datetime) -> str:
    return at.astimezone(timezone.get_current_timezone()).strftime("%H:%M")
