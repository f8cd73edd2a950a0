"""Pure: rows of text as a plain table that fits a terminal and a ticket."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

WIDTH = 100
_GAP = "  "
_NARROWEST = 8
_ELLIPSIS = "..."

Paint = Callable[[str], str]


def render(
    titles: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    width: int = WIDTH,
    paint: Mapping[str, Paint] | None = None,
    whole: Collection[str] = (),
) -> list[str]:
    """Return the lines: titles, then rows, in left-aligned columns, none longer than ``width``.

    Where they would be longer, the widest columns give way and their cells lose the middle; those
    that ``whole`` names, which say nothing without it, only when the others are narrow.
    ``paint`` colours the cells of the columns it names, by their whole text; the titles stay plain.
    """
    cells = [[_printable(cell) for cell in row] for row in rows]
    last = [title in whole for title in titles]
    widths = _widths([list(titles), *cells], width, last)
    painters = [(paint or {}).get(title) for title in titles]
    lines = [_line(titles, widths, [None] * len(titles))]
    lines.extend(_line(row, widths, painters) for row in cells)
    return lines


def elide(text: str, width: int) -> str:
    """Shorten to ``width`` by leaving the middle out: names differ at both ends."""
    if len(text) <= width:
        return text
    kept = max(width - len(_ELLIPSIS), 0)
    tail = kept // 2
    return text[: kept - tail] + _ELLIPSIS[: width - kept] + (text[-tail:] if tail else "")


def one_line(text: str | None) -> str:
    """As a cell; a dash for what there is none of."""
    return "-" if text is None else " ".join(text.split())


def wrap_words(text: str, prefix: str = "") -> list[str]:
    """Lines of at most the table's width, each with the prefix; what is longer stays whole."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    lines, line = [], prefix
    for word in printable.split():
        if line != prefix and len(line) + len(word) >= WIDTH:
            lines.append(line)
            line = prefix
        line += f" {word}" if line else word
    return [*lines, line]


def _printable(text: str) -> str:
    # What a database holds may be anything; a terminal would obey its control characters.
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _widths(rows: Sequence[Sequence[str]], width: int, last: Sequence[bool]) -> list[int]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    room = width - len(_GAP) * (len(widths) - 1)
    for giving in ([i for i, later in enumerate(last) if not later], range(len(widths))):
        while giving and sum(widths) > room:
            widest = max(giving, key=widths.__getitem__)
            if widths[widest] <= _NARROWEST:
                break
            widths[widest] -= 1
    return widths


def _line(cells: Sequence[str], widths: Sequence[int], paint: Sequence[Paint | None]) -> str:
    parts = []
    for cell, room, painter in zip(cells, widths, paint, strict=True):
        text = elide(cell, room)
        padding = " " * (room - len(text))
        parts.append((painter(text) if painter else text) + padding)
    return _GAP.join(parts).rstrip()
