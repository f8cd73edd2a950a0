"""Pure: a stream as lines of a log, each with its time and kind, from which it can be had back.

    [2026-03-01T12:00:00.123Z] [INFO] a line of stdout
    [2026-03-01T12:00:00.124Z] [ERROR] a line of stderr
    [2026-03-01T12:00:00.125Z] [INFO+] the beginning of a line that
    [2026-03-01T12:00:01.125Z] [INFO]  goes on in the next one of its kind
    [2026-03-01T12:00:01.126Z] [NOTE] what Hodei has to say

The bytes of a line are those that were written. A plus says that no end of line came with them: the
line was long, or late, or the last.
"""

from __future__ import annotations

from datetime import UTC, datetime

INFO, ERROR, NOTE = "INFO", "ERROR", "NOTE"
#: Bytes of a line that are kept waiting for its end, and seconds.
LONGEST_WAIT = 64 * 1024
WAIT_SECONDS = 1.0


def prefix(now: float, kind: str) -> bytes:
    """What a line begins with; ``now`` is seconds since 1970."""
    stamp = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
    return f"[{stamp.removesuffix('+00:00')}Z] [{kind}] ".encode()


def note(now: float, text: str) -> bytes:
    """A line of our own."""
    return prefix(now, NOTE) + " ".join(text.split()).encode(errors="replace") + b"\n"


class Liner:
    """One stream."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._waiting = b""
        self._since = 0.0

    def feed(self, data: bytes, now: float) -> bytes:
        """Return the lines that can be written now."""
        whole, end, rest = data.rpartition(b"\n")
        lines = b""
        if end:
            start = prefix(now, self._kind)
            lines = start + self._waiting + whole.replace(b"\n", b"\n" + start) + b"\n"
            self._waiting = b""
        if rest:
            if not self._waiting:
                self._since = now
            self._waiting += rest
        if len(self._waiting) >= LONGEST_WAIT:
            lines += self.flush(now)
        return lines

    def flush(self, now: float) -> bytes:
        """Return what waits for its end, without it."""
        if not self._waiting:
            return b""
        piece = prefix(now, f"{self._kind}+") + self._waiting + b"\n"
        self._waiting = b""
        return piece

    def flush_late(self, now: float) -> bytes:
        """The same, if it has waited for long."""
        # A clock that was set back must not keep it waiting.
        late = self._waiting and abs(now - self._since) >= WAIT_SECONDS
        return self.flush(now) if late else b""
