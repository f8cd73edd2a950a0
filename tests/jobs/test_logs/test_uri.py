"""Which files the URI of a log may name."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.logs import store
from tests.jobs.test_logs.kit import files_in


class TestUri:
    @pytest.mark.parametrize(
        "uri",
        [
            "storage://job_logs/../../etc/passwd",
            "storage://job_logs//etc/passwd",
            "storage://job_logs/",
            "storage://job_logs/a/../../b",
            "storage://job_logs/a\0b",
            "storage://default/a.log",
            "file:///etc/passwd",
            "file://elsewhere/tmp/x.log",
            "s3://bucket/a.log",
            "/etc/passwd",
            "",
            "http://[",
        ],
    )
    def test_one_that_leaves_the_storage_is_refused(self, log_folder: Path, uri: str) -> None:
        with pytest.raises(store.LogUnreadable):
            next(store.chunks(uri))
        with pytest.raises(store.LogUnreadable):
            store.delete(uri)

    def test_a_symbolic_link_is_no_way_out(self, log_folder: Path) -> None:
        log_folder.mkdir()
        (log_folder / "out").symlink_to("/etc")

        with pytest.raises(store.LogUnreadable):
            next(store.chunks(f"file://{log_folder}/out/passwd"))

    def test_the_originals_are_read_where_they_are_ours(self, log_folder: Path) -> None:
        log_folder.mkdir()
        (log_folder / "a b.log").write_bytes(b"old\n")

        uri = f"file://{log_folder}/a%20b.log"
        assert b"".join(store.chunks(uri)) == b"old\n"
        store.delete(uri)
        store.delete(uri)
        assert files_in(log_folder) == []
