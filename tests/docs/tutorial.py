"""Runs a tutorial: its files are written, and its commands run, in the order of the page.

A paragraph that ends with a path in backquotes and a colon says what to do with the block under it:
"Append to", "Replace" or "Make". In any block, lines that begin with ``$ `` are commands, and the
lines under a command are what it prints.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FILE = re.compile(r"(Append to|Replace|Make) `([^`]+)`:$")


@dataclass(frozen=True)
class WriteFile:
    path: str
    text: str
    appends: bool


@dataclass(frozen=True)
class Command:
    line: str
    output: str


def steps(page: Path) -> Iterator[WriteFile | Command]:
    for block in re.split(r"\n(?=\S)", page.read_text(encoding="utf-8")):
        paragraph, *rest = block.splitlines()
        code = "\n".join(line[4:] for line in rest).strip("\n")
        if not code:
            continue
        text, commands = _split(code)
        if found := _FILE.search(paragraph):
            yield WriteFile(found[2], text, appends=found[1] == "Append to")
        yield from commands


def _split(code: str) -> tuple[str, list[Command]]:
    """A file's text, and the commands under it."""
    lines = code.split("\n")
    first = next((at for at, line in enumerate(lines) if line.startswith("$ ")), len(lines))
    commands: list[Command] = []
    for line in lines[first:]:
        if line.startswith("$ "):
            commands.append(Command(line[2:], ""))
        elif line:
            last = commands[-1]
            commands[-1] = Command(last.line, f"{last.output}{line}\n")
    return "\n".join(lines[:first]).strip("\n") + "\n", commands
