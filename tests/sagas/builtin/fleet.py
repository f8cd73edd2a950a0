"""A provider whose workers are files: what it was asked for is there for whoever looks, also after
the process that asked was killed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs.services import workers
from sagas.providers import Handle, Ping, ProviderRefused, WorkerOrder

TYPE = "custom:fleet"
PATH = "tests.sagas.builtin.fleet.FleetProvider"


class FleetProvider:
    """``config``: ``folder``; ``registers``: whether a worker registers at once, and is READY;
    ``dies``: whether it is gone before that; ``refuses``: whether none is made at all."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.folder = Path(config["folder"])
        self.registers = config.get("registers", True)
        self.dies = config.get("dies", False)
        self.refuses = config.get("refuses", False)

    def create(self, key: str, order: WorkerOrder) -> Handle:
        self._journal("create", key)
        if self.refuses:
            raise ProviderRefused("the yard is closed")
        if not self._file(key).exists():
            self._file(key).write_text(str(order.worker_id))
        if self.dies:
            self._file(key).unlink()
        elif self.registers:
            try:
                workers.register(order.worker_id, token=order.token)
                workers.heartbeat(order.worker_id)
            except workers.WorkerStateConflict:
                # It registered before, or has ended: as a real one it would go.
                pass
        return {"key": key}

    def verify(self, key: str) -> Handle | None:
        self._journal("verify", key)
        return {"key": key} if self._file(key).exists() else None

    def destroy(self, key: str, handle: Handle) -> None:
        self._journal("destroy", key)
        self._file(key).unlink(missing_ok=True)

    def ping(self, key: str, handle: Handle) -> Ping:
        return Ping.ALIVE if self._file(key).exists() else Ping.GONE

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}.worker"

    def _journal(self, what: str, key: str) -> None:
        with (self.folder / "journal").open("a") as file:
            file.write(json.dumps([what, key]) + "\n")


def made(folder: Path) -> list[str]:
    """The keys of what is there."""
    return sorted(path.stem for path in folder.glob("*.worker"))


def asked(folder: Path) -> list[tuple[str, str]]:
    """What it was asked, in order."""
    journal = folder / "journal"
    lines = journal.read_text().splitlines() if journal.exists() else []
    return [tuple(json.loads(line)) for line in lines]
