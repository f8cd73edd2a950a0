"""How the pages of the schema show states, instants, spans and text. Templates escape the rest."""

from __future__ import annotations

from datetime import UTC, datetime

from django import template
from django.utils.html import format_html
from django.utils.timesince import timesince

from hodei.redaction import redact_text
from hodei.schema.results import FindingKind
from hodei.schema.timing import duration

register = template.Library()

#: What a word asks of a person, as the style sheet names it.
_TONES = {
    **dict.fromkeys(("applied", "ok"), "good"),
    **dict.fromkeys(("running", "in progress"), "busy"),
    **dict.fromkeys(("pending", "out of order", "edited", "unknown", "warning"), "wait"),
    **dict.fromkeys(("failed", "interrupted", "error"), "bad"),
}
#: Characters of one text that a page shows.
_LONGEST = 60_000


@register.filter
def badge(word: str, number: int | None = None) -> str:
    """A state in its colour; with a number, how many there are."""
    tone = _TONES.get(word, "quiet")
    text = word if number is None else f"{number} {word}"
    return format_html('<span class="hodei-state hodei-{}">{}</span>', tone, text)


@register.filter
def moment(at: datetime | None) -> str:
    """An instant in UTC, as the commands print it, with its age on hover."""
    if at is None:
        return "-"
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        *(at.isoformat(), _age(at), _exact(at)),
    )


@register.filter
def age(at: datetime | None) -> str:
    """How long ago it was, in one unit, with the exact time on hover."""
    if at is None:
        return "-"
    return format_html(
        '<time datetime="{}" title="{} UTC">{}</time>',
        *(at.isoformat(), _exact(at), _age(at)),
    )


@register.filter
def words(kind: FindingKind) -> str:
    """The kind of a finding, as one says it."""
    return kind.value.replace("_", " ")


@register.filter
def took(milliseconds: int | None) -> str:
    """A duration, or a dash for what is not known."""
    return duration(milliseconds)


@register.filter
def safe_text(text: str | None) -> str:
    """An error or a traceback without passwords and tokens, cut where it would burst the page."""
    return cut(redact_text(text or ""))


@register.filter
def cut(text: str) -> str:
    """Text whose end is left out if it is very long, and that says so."""
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]}\n[cut: {len(text) - _LONGEST} more characters]"


@register.filter
def first_line(text: str | None) -> str:
    """The first line of an error, for a list."""
    lines = redact_text(text or "").strip().splitlines()
    return lines[0] if lines else ""


@register.filter
def statement(text: str) -> str:
    """SQL with one semicolon at its end."""
    return f"{cut(text).rstrip().rstrip(';')};"


def _exact(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _age(at: datetime) -> str:
    seconds = (datetime.now(UTC) - at).total_seconds()
    if seconds < 60:
        return f"{max(0, round(seconds))} s ago"
    return f"{timesince(at, datetime.now(UTC), depth=1)} ago"
