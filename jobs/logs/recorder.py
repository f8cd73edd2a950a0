"""The streams of one run on their way into its spool: masked, cut into lines, counted."""

from __future__ import annotations

import time

from jobs.logs.lines import ERROR, INFO, Liner, note
from jobs.logs.masking import Masker
from jobs.logs.spool import Spool

STDOUT, STDERR = 1, 2
#: Bytes of a stream that are kept for the result of the job.
LARGEST_EXCERPT = 16 * 1024


class Recorder:
    """For the thread of a run."""

    def __init__(self, spool: Spool, secrets: tuple[bytes, ...]) -> None:
        self._spool = spool
        self._maskers = {stream: Masker(secrets) for stream in (STDOUT, STDERR)}
        self._liners = {STDOUT: Liner(INFO), STDERR: Liner(ERROR)}
        self._excerpts = {STDOUT: b"", STDERR: b""}

    def write(self, stream: int, data: bytes) -> None:
        """Add what came; with no bytes, only look for what has waited long enough."""
        now = time.time()
        if data:
            self._add(stream, self._maskers[stream].feed(data), now)
        for liner in self._liners.values():
            self._spool.write(liner.flush_late(now))

    def note(self, text: str) -> None:
        """Add a line of our own."""
        self._spool.write(note(time.time(), text))

    def end(self) -> None:
        """Add what was held back."""
        now = time.time()
        for stream, masker in self._maskers.items():
            self._add(stream, masker.close(), now)
            self._spool.write(self._liners[stream].flush(now))
        if self._spool.error is not None:
            self._spool.add_at_last(
                note(
                    now,
                    f"{self._spool.left_out:,} bytes of this log could not be kept: "
                    f"{self._spool.error.strerror}.",
                )
            )

    def excerpt(self, stream: int) -> str:
        """The end of a stream, as a text that PostgreSQL can store."""
        found = self._excerpts[stream].decode(errors="replace")
        return found.replace("\0", "\N{REPLACEMENT CHARACTER}")

    def _add(self, stream: int, data: bytes, now: float) -> None:
        if not data:
            return
        self._excerpts[stream] = (self._excerpts[stream] + data[-LARGEST_EXCERPT:])[
            -LARGEST_EXCERPT:
        ]
        self._spool.write(self._liners[stream].feed(data, now))
