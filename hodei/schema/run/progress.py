"""What an operator sees while migrations run, beside the lines that Django prints.

Elsewhere than on a terminal: plain lines on stderr, and only where there is something to know. On
a terminal, Django's line of the migration that runs is drawn again, with what it is doing.
"""

from __future__ import annotations

import shutil
import threading
import time
from typing import TYPE_CHECKING, Any

from hodei.schema.tables import elide

if TYPE_CHECKING:
    from hodei.schema.run.watch import Blocker

_SECONDS_BETWEEN_LINES = 5.0
#: A migration that is quicker than this needs no picture.
_SECONDS_TO_DRAW = 1.0
_ERASED = "\r\x1b[2K"


class Progress:
    """Tells nobody anything: what a run from Python has."""

    def say(self, text: str) -> None:
        """Something that an operator should know, on one line."""

    def begin(self, label: str, number: int, total: int) -> None:
        """The ``number``-th of ``total`` migrations begins; ``label`` is Django's line of it."""

    def at(self, operation: str) -> None:
        """What it is doing now."""

    def tick(self, waited: float, blockers: tuple[Blocker, ...]) -> None:
        """Time has passed; from another thread."""

    def end(self) -> None:
        """It is over; Django says how."""


class Lines(Progress):
    """Plain lines on ``err``, each after the name of the command."""

    def __init__(self, err: Any, command: str = "migrate") -> None:
        self._err = err
        self._command = command
        self._notice = 0.0
        self._label = ""

    def say(self, text: str) -> None:
        self._err.write(f"{self._command}: {text}", lambda plain: plain)
        self._err.flush()

    def begin(self, label: str, number: int, total: int) -> None:
        self._label, self._notice = label.strip().removesuffix("..."), 0.0

    def tick(self, waited: float, blockers: tuple[Blocker, ...]) -> None:
        now = time.monotonic()
        if waited >= 1.0 and now >= self._notice:
            self._notice = now + _SECONDS_BETWEEN_LINES
            self.say(f"{self._label} waits for a lock, {waited:.0f} s: {names(blockers)}")


class Terminal(Lines):
    """Also draws on ``out``, the terminal, over the line that Django has begun there."""

    def __init__(self, out: Any, err: Any) -> None:
        super().__init__(err)
        self._out = out
        self._mutex = threading.Lock()
        self._line = ""
        self._count = self._operation = ""
        self._since = 0.0
        self._drawn = False

    def say(self, text: str) -> None:
        with self._mutex:
            self._restore()
            if self._line:
                self._out.write("", ending="\n")
        super().say(text)
        with self._mutex:
            if self._line:
                self._out.write(self._line, ending="")

    def begin(self, label: str, number: int, total: int) -> None:
        super().begin(label, number, total)
        with self._mutex:
            self._line, self._count, self._operation = label, f"{number} of {total}", ""
            self._since = time.monotonic()

    def at(self, operation: str) -> None:
        self._operation = operation

    def tick(self, waited: float, blockers: tuple[Blocker, ...]) -> None:
        with self._mutex:
            elapsed = time.monotonic() - self._since
            if not self._line or elapsed < _SECONDS_TO_DRAW:
                return
            words = [self._count, f"{elapsed:.0f} s", self._operation]
            if waited:
                words.append(f"waits for {names(blockers)}")
            room = shutil.get_terminal_size().columns - 1
            text = f"{self._line} {', '.join(word for word in words if word)}"
            self._out.write(_ERASED + elide(text, room), ending="")
            self._out.flush()
            self._drawn = True

    def end(self) -> None:
        with self._mutex:
            self._restore()
            self._line = ""

    def _restore(self) -> None:
        if self._drawn:
            self._out.write(_ERASED + self._line, ending="")
            self._out.flush()
            self._drawn = False


def names(blockers: tuple[Blocker, ...]) -> str:
    return "; ".join(map(str, blockers)) or "somebody who has just let go"
