"""A storage on a disk that is full for as long as a test says."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

from django.core.files.storage import FileSystemStorage


class Disk(FileSystemStorage):
    """Full while there is a file ``full`` beside its folder, which notes each try to write."""

    def _save(self, name: str, content: Any) -> str:
        full = Path(self.location).with_name("full")
        if full.exists():
            path = Path(self.path(name))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.read(100))
            with full.open("a", encoding="utf-8") as file:
                file.write(f"{name}\n")
            raise OSError(errno.ENOSPC, "No space left on device")
        return str(super()._save(name, content))
