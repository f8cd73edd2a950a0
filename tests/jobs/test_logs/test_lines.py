"""A stream as lines with time and kind."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jobs.logs import lines
from jobs.logs.lines import Liner
from tests.jobs.test_logs.kit import streams


class TestLines:
    @given(pieces=st.lists(st.tuples(st.binary(max_size=30), st.booleans())))
    def test_the_stream_can_be_had_back(self, pieces: list[tuple[bytes, bool]]) -> None:
        liner, log, now = Liner("INFO"), b"", 1.7e9
        for data, late in pieces:
            log += liner.feed(data, now)
            now += 2.0 if late else 0.001
            log += liner.flush_late(now)
        log += liner.flush(now)

        assert streams(log)[b"INFO"] == b"".join(data for data, _ in pieces)

    def test_a_line_waits_for_its_end_only_so_long(self) -> None:
        liner = Liner("INFO")

        assert liner.feed(b"50 %", 1000.0) == liner.flush_late(1000.5) == b""
        assert liner.flush_late(1001.0) == b"[1970-01-01T00:16:41.000Z] [INFO+] 50 %\n"

    def test_a_line_without_an_end_is_cut(self) -> None:
        liner = Liner("ERROR")

        cut = b"".join(liner.feed(b"x" * 50_000, 0.0) for _ in range(10))

        assert max(map(len, cut.split(b"\n"))) < 2 * lines.LONGEST_WAIT
        assert streams(cut + liner.flush(0.0))[b"ERROR"] == b"x" * 500_000

    def test_a_note_is_one_line(self) -> None:
        assert lines.note(0.0, "a\nb \ud800").endswith(b"] [NOTE] a b ?\n")
