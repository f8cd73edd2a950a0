"""The local file of a run, and the newest of it in memory."""

from __future__ import annotations

import resource
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.logs.spool import LARGEST_TAIL, Spool


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The kernel refuses larger ones to this process, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class TestSpool:
    def test_keeps_all_of_it_and_the_newest_in_memory(self) -> None:
        spool = Spool(uuid.uuid4(), 1, None)
        for number in range(100):
            spool.write(b"%04d" % number * 1000 + b"\n")

        assert (spool.size, spool.lines) == (400_100, 100)
        tail = spool.newest()
        assert tail is not None
        assert (len(tail.tail), tail.total) == (LARGEST_TAIL, 400_100)
        file = spool.file()
        assert file is not None
        assert file.read()[-LARGEST_TAIL:] == tail.tail
        assert spool.newest() is None
        spool.close()

    def test_has_no_name_that_could_be_left_behind(self, tmp_path: Path) -> None:
        spool = Spool(uuid.uuid4(), 1, str(tmp_path))
        spool.write(b"x\n")

        assert list(tmp_path.iterdir()) == []
        spool.close()

    def test_a_full_disk_costs_what_comes_then_and_is_told(self) -> None:
        spool = Spool(uuid.uuid4(), 1, None)
        with files_of_at_most(100_000):
            for _ in range(30):
                spool.write(b"x" * 9_999 + b"\n")
            assert spool.error is not None
            spool.add_at_last(b"so it is\n")

            file = spool.file()
            assert file is not None
            kept = file.read()
        assert (spool.size, spool.lines) == (len(kept), kept.count(b"\n"))
        assert kept == (b"x" * 9_999 + b"\n") * 9 + b"so it is\n"
        assert spool.left_out == 200_000
        tail = spool.newest()
        assert tail is not None
        assert tail.tail.endswith(b"so it is\n")
        spool.close()
