"""To stdout, one line an event: for development."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from outbox.envelope import structured
from outbox.events import Event
from outbox.outcomes import DELIVERED, Outcome, down


class ConsolePublisher:
    """Has no options. A line is the whole event as CloudEvents JSON, secrets and all."""

    def __init__(self, *, source: str, namespace: str) -> None:
        self._envelope = {"source": source, "namespace": namespace}

    def open(self) -> None:
        pass

    def send_batch(self, events: Sequence[Event]) -> Sequence[Outcome]:
        try:
            sys.stdout.write("".join(map(self._line, events)))
            sys.stdout.flush()
        except (OSError, ValueError) as error:
            # Closed, or a pipe that nobody reads; what it had taken may be lost.
            return [down("stdout", f"stdout takes nothing: {error}.")] * len(events)
        return [DELIVERED] * len(events)

    def close(self) -> None:
        pass

    def _line(self, event: Event) -> str:
        # Between the parts of a JSON text a line break is a space; inside of them there is none.
        line = structured(event, **self._envelope).replace("\r", " ").replace("\n", " ")
        try:
            line.encode(encoding := getattr(sys.stdout, "encoding", None) or "utf-8")
        except UnicodeEncodeError:
            # JSON's own escapes, where the terminal knows fewer letters.
            line = "".join(_printable(letter, encoding) for letter in line)
        return f"{line}\n"


def _printable(letter: str, encoding: str) -> str:
    try:
        letter.encode(encoding)
    except UnicodeEncodeError:
        pairs = letter.encode("utf-16-be")
        return "".join(f"\\u{pairs[at : at + 2].hex()}" for at in range(0, len(pairs), 2))
    return letter
