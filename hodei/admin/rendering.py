"""What a cell looks like: states, ages, links, text and JSON, safe against whatever is stored.

Everything goes through ``format_html``; there is no style attribute and no script, so the pages
pass a Content Security Policy of ``default-src 'self'``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeAlias
from urllib.parse import urlencode

from django.contrib.admin.utils import quote
from django.db.models import F, Func, IntegerField, TextField
from django.db.models.functions import Cast, Left
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from hodei.columns import words_of
from hodei.redaction import redact, redact_text

#: Characters of one value that a page shows, and of JSON that it reads at all.
SHOWN_LIMIT = 65_536
READ_LIMIT = 4 * 1024 * 1024
#: Rows of a panel.
PANEL_LIMIT = 200

EMPTY = "-"

#: What a state asks of a person: good, busy, wait, bad or quiet, by the state's value.
Tones: TypeAlias = Mapping[str, str]
#: Where no line is to be broken.
SPACE = "\N{NO-BREAK SPACE}"
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


class JSONText(Cast):
    """A JSON column as text, cut: the page decides what it parses, and deep nesting is no crash."""

    def __init__(self, name: str) -> None:
        super().__init__(F(name), output_field=TextField())


def json_columns(names: Iterable[str]) -> dict[str, Any]:
    """Annotations ``<name>_text`` and ``<name>_size`` for ``json_block``."""
    columns: dict[str, Any] = {}
    for name in names:
        columns[f"{name}_text"] = Left(JSONText(name), READ_LIMIT)
        columns[f"{name}_size"] = Func(
            JSONText(name), function="octet_length", output_field=IntegerField()
        )
    return columns


def span(length: timedelta) -> str:
    """A length of time in its two largest units, ``3 h 20 min``, which no line break parts."""
    seconds = int(length.total_seconds())
    if seconds < 1:
        return f"{max(0, round(length.total_seconds() * 1000))}{SPACE}ms"
    parts: list[str] = []
    for unit, size in _UNITS:
        count, seconds = divmod(seconds, size)
        if count or parts:
            parts.append(f"{count}{SPACE}{unit}" if count else "")
        if len(parts) == 2:
            break
    return SPACE.join(filter(None, parts))


def moment(at: datetime) -> str:
    """A point in time as an operator copies it."""
    return at.astimezone(timezone.get_current_timezone()).strftime("%Y-%m-%d %H:%M:%S %Z")


def ago(at: datetime | None) -> str:
    """How long ago something was, or how soon it is, with the exact time on hover."""
    if at is None:
        return EMPTY
    distance = timezone.now() - at
    words = f"{span(distance)} ago" if distance >= timedelta(0) else f"in {span(-distance)}"
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', at.isoformat(), moment(at), words
    )


def when(at: datetime | None) -> str:
    """A point in time, and how far away it is."""
    if at is None:
        return EMPTY
    return format_html('{} <span class="hodei-quiet">({})</span>', moment(at), ago(at))


def badge(value: str | None, tones: Tones) -> str:
    """A state in words, coloured by what it asks of a person."""
    if not value:
        return EMPTY
    tone = tones.get(value, "quiet")
    return format_html('<span class="hodei-state hodei-{}">{}</span>', tone, words_of(value))


def progress(done: int, total: int) -> str:
    """A bar with its numbers."""
    if not total:
        return EMPTY
    return format_html(
        '<progress class="hodei-progress" value="{}" max="{}" aria-label="{} of {} steps">'
        "</progress> {}",
        *(done, total, done, total, SPACE.join((str(done), "of", str(total)))),
    )


def first_line(text: str | None, limit: int = 100) -> str:
    """The first line of an error, cut."""
    lines = redact_text(text or "").strip().splitlines()
    line = lines[0] if lines else ""
    return f"{line[: limit - 1]}…" if len(line) > limit else line or EMPTY


def code(value: object, *, short: bool = False) -> str:
    """An identifier, to be read exactly; ``short`` shows its first eight characters."""
    if value is None or value == "":
        return EMPTY
    text = str(value)
    return format_html('<code title="{}">{}</code>', text, text[:8] if short else text)


def clipped(text: str | None, longest: int = 24) -> str:
    """A name or a key in a list: its beginning, and the whole on hover."""
    if not text:
        return EMPTY
    if len(text) <= longest:
        return text
    return format_html('<span title="{}">{}…</span>', text, text[: longest - 1])


def text_block(text: str | None) -> str:
    """Text as it is, redacted and cut."""
    if not text:
        return EMPTY
    return _block(redact_text(text[: SHOWN_LIMIT + 1]), len(text))


def json_block(text: str | None, size: int | None) -> str:
    """JSON as PostgreSQL wrote it: redacted, indented and cut.

    What cannot be read cannot be redacted either, so it is not shown at all.
    """
    if text is None or text == "null":
        return EMPTY
    if size is not None and size > READ_LIMIT:
        return _remark(f"{size:,} bytes of JSON: too large to be shown here.")
    try:
        value = json.loads(text, parse_int=_whole)
    except RecursionError:
        return _remark(f"{len(text):,} characters of JSON: nested too deeply to be shown here.")
    if value in ({}, []):
        return EMPTY
    shown = json.dumps(redact(value), indent=2, ensure_ascii=False)
    return _block(shown, len(shown))


def json_of(row: object, name: str) -> str:
    """``json_block`` of a row that has the annotations of ``json_columns``."""
    return json_block(getattr(row, f"{name}_text"), getattr(row, f"{name}_size"))


def _whole(digits: str) -> int | str:
    # Python refuses to convert numbers of more than 4,300 digits; PostgreSQL stores them.
    return int(digits) if len(digits) < 4_000 else digits


def _block(shown: str, length: int) -> str:
    remark = ""
    if length > SHOWN_LIMIT:
        remark = _remark(f"Cut: the first {SHOWN_LIMIT:,} of {length:,} characters.")
    # The text may be any script in any direction: dir keeps it from turning the page around.
    return format_html(
        '<pre class="hodei-block" dir="auto" tabindex="0">{}</pre>{}', shown[:SHOWN_LIMIT], remark
    )


def _remark(words: str) -> str:
    return format_html('<p class="hodei-quiet">{}</p>', words)


def page_of(view: str, key: object) -> str | None:
    """Address of the page of one row, by model as ``app_model``; None if it has no admin."""
    try:
        return reverse(f"admin:{view}_change", args=(quote(key),))  # type: ignore[arg-type]
    except NoReverseMatch:
        return None


def link(view: str, key: object, words: str | None = None) -> str:
    """A link to the page of one row, which may be gone: the page says so then."""
    if key is None:
        return EMPTY
    address = page_of(view, key)
    shown = words or code(key)
    return format_html('<a href="{}">{}</a>', address, shown) if address else shown


def button(address: str, words: str) -> str:
    """A link that begins something."""
    return format_html('<a class="hodei-act" href="{}">{}</a>', address, words)


def list_link(view: str, words: str, **lookups: object) -> str:
    """A link to a filtered list."""
    try:
        address = reverse(f"admin:{view}_changelist")
    except NoReverseMatch:
        return words
    return format_html('<a href="{}?{}">{}</a>', address, urlencode(lookups), words)


def table(
    caption: str, heads: Sequence[str], rows: Sequence[Sequence[object]], *, remark: str = ""
) -> str:
    """A panel: a table with a heading per column. Cells are escaped unless they are safe."""
    if not rows:
        return EMPTY
    body = format_html_join(
        "",
        "<tr>{}</tr>",
        ((format_html_join("", "<td>{}</td>", ((cell,) for cell in row)),) for row in rows),
    )
    return format_html(
        '<div class="hodei-panel" tabindex="0" role="region" aria-label="{}"><table>'
        '<caption class="hodei-caption">{}</caption>'
        "<thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>{}",
        *(caption, caption),
        format_html_join("", '<th scope="col">{}</th>', ((head,) for head in heads)),
        *(body, remark),
    )


def lines(parts: Iterable[str]) -> str:
    """Several things, each in a line of its own."""
    return format_html_join(mark_safe("<br>"), "{}", ((part,) for part in parts)) or EMPTY


def beside(parts: Iterable[str]) -> str:
    """Several things in one line."""
    return format_html_join(" ", "{}", ((part,) for part in parts)) or EMPTY


def folded(words: str, content: str) -> str:
    """Something long, behind a line that opens it."""
    if content == EMPTY:
        return SafeString(EMPTY)
    return format_html("<details><summary>{}</summary>{}</details>", words, content)
