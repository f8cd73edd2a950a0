"""Tables in a terminal. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hodei.values import printable

_ONE_LINE = {ord("\n"): r"\n", ord("\t"): r"\t"}


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The rows as lines, each column as wide as its widest cell, for a terminal; a cell that has
    lines of its own makes none."""
    rows = [[printable(cell).translate(_ONE_LINE) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}\N{HORIZONTAL ELLIPSIS}"
