"""Logs, their files, and a storage that is broken."""

from __future__ import annotations

import io
import re
import sys
import uuid
from pathlib import Path
from typing import Any

from django.core.files.storage import FileSystemStorage
from django.core.management import call_command

from tests.jobs.conftest import Commands, program

LINE = re.compile(
    rb"\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\] \[(INFO|ERROR|NOTE)(\+?)\] (.*)", re.DOTALL
)


def streams(log: bytes) -> dict[bytes, bytes]:
    """What was written, from what was kept of it."""
    found: dict[bytes, bytes] = {b"INFO": b"", b"ERROR": b"", b"NOTE": b""}
    for line in log.split(b"\n")[:-1]:
        parsed = LINE.fullmatch(line)
        assert parsed is not None, line
        kind, plus, text = parsed.groups()
        found[kind] += text + (b"" if plus else b"\n")
    return found


class Broken(FileSystemStorage):
    """A storage that is full, or away."""

    def _save(self, name: str, content: Any) -> str:
        path = Path(self.path(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.read(5))
        raise OSError(28, "No space left on device")


class UnshownError(Exception):
    def __str__(self) -> str:
        raise ValueError("no")


class Rude(Broken):
    """One that raises what cannot be shown."""

    def _save(self, name: str, content: Any) -> str:
        raise UnshownError


class Exiting(Broken):
    """One that would end its process."""

    def _save(self, name: str, content: Any) -> str:
        sys.exit(3)


def use_broken(settings: Any, tmp_path: Path, kind: str = "Broken") -> None:
    settings.STORAGES = {
        **settings.STORAGES,
        "job_logs": {
            "BACKEND": f"tests.jobs.test_logs.kit.{kind}",
            "OPTIONS": {"location": str(tmp_path / "logs")},
        },
    }


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def printed(job: object, *words: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command("jobs_logs", str(job), *words, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def follow(job: object) -> tuple[str, str]:
    from django.db import connections

    try:
        return printed(job, "--follow")
    finally:
        connections.close_all()


def a_log(commands: Commands, *, expired: bool = False, **options: Any) -> uuid.UUID:
    job = commands.run(program("echo", "hello"), **options)
    if expired:
        commands.execute(
            "UPDATE job_log_files SET expires_at = now() - interval '1 h' WHERE job_id = %s", [job]
        )
    return job
