"""Pure: takes secret values out of a stream of bytes, also where they come in pieces."""

from __future__ import annotations

from collections.abc import Iterable

from hodei.redaction import REDACTED

#: Values shorter than this are not masked: they are everywhere, and hide nothing.
SHORTEST = 4
#: Lines of a value of several lines are masked one by one, too, if they have so many bytes.
SHORTEST_LINE = 8
MASK = REDACTED.encode()


def needles(secrets: Iterable[str]) -> tuple[bytes, ...]:
    """What to look for: the values, and the lines of those that have several."""
    found: set[bytes] = set()
    for secret in secrets:
        value = secret.encode(errors="surrogatepass").strip()
        if len(value) >= SHORTEST:
            found.add(value)
        lines = [line.strip() for line in value.splitlines()]
        if len(lines) > 1:
            found.update(line for line in lines if len(line) >= SHORTEST_LINE)
    return tuple(sorted(found))


class Masker:
    """One stream. What may be the beginning of a secret is held back until that is known."""

    def __init__(self, secrets: tuple[bytes, ...]) -> None:
        self._secrets = secrets
        self._held = b""
        #: So many bytes of what is held belong to a secret whose mask was written already.
        self._covered = 0

    def feed(self, data: bytes) -> bytes:
        """Return what can be shown now."""
        if not self._secrets:
            return data
        data = self._held + data
        return self._emit(data, self._beginning(data))

    def close(self) -> bytes:
        """Return the rest."""
        return self._emit(self._held, len(self._held))

    def _beginning(self, data: bytes) -> int:
        """Where the longest end of ``data`` begins that may be the beginning of a secret."""
        first = len(data)
        for secret in self._secrets:
            start = data.find(secret[:1], max(len(data) - len(secret) + 1, 0))
            while 0 <= start < first:
                if secret.startswith(data[start:]):
                    first = start
                start = data.find(secret[:1], start + 1)
        return first

    def _emit(self, data: bytes, cut: int) -> bytes:
        """Mask ``data`` up to ``cut``, and hold the rest."""
        shown: list[bytes] = []
        place = 0
        for start, end in self._found(data):
            if start >= cut and start >= self._covered:
                break
            shown.append(data[place:start])
            if start >= self._covered:
                shown.append(MASK)
            place = end
        shown.append(data[place:cut])
        self._held = data[cut:]
        self._covered = max(place - cut, 0)
        return b"".join(shown)

    def _found(self, data: bytes) -> list[tuple[int, int]]:
        """Begin and end of what is secret, those that overlap as one."""
        found = [(0, self._covered)] if self._covered else []
        for secret in self._secrets:
            start = data.find(secret)
            while start >= 0:
                found.append((start, start + len(secret)))
                start = data.find(secret, start + 1)
        merged: list[tuple[int, int]] = []
        for start, end in sorted(found):
            if merged and start < merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return merged
