"""Workers as processes of this machine: for one machine, for trying things out, and for tests.

The config of such a provider may have:

    folder       where files about its processes are; by default one of this user's own below the
                 system's folder for temporary files
    concurrency  runs at once of each worker; 1
    queues       names of queues; all
    grace        seconds that a worker has to finish what it runs when it is ended; 5

A process is found again by its key after a crash of whoever started it: see ``pidfile``. It is for
the machine on which it was made; another one is unsure of it.
"""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sagas.providers import Handle, Ping, ProviderRefused, WorkerOrder, pidfile
from sagas.providers.pidfile import Process

KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
#: Seconds that a process may take to note itself, and to be gone after SIGKILL.
SECONDS_TO_START, SECONDS_TO_DIE = 20.0, 10.0
GRACE_SECONDS = 5.0
#: What is shown of the output of a process that ended.
SHOWN_BYTES = 2_000

#: Those that this process started, to be waited for when they have ended.
_children: list[subprocess.Popen[bytes]] = []
_mutex = threading.Lock()


class WrongMachine(Exception):  # noqa: N818
    """It runs on another machine, of which this one knows nothing."""

    def __init__(self, key: str, host: str) -> None:
        super().__init__(f"{key} is a process of {host}, and this is {socket.gethostname()}.")


class ProcessProvider:
    """See the module."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        given = config.get("folder")
        self._folder = Path(given) if given else _folder_of_user()
        grace = config.get("grace", GRACE_SECONDS)
        if isinstance(grace, bool) or not isinstance(grace, (int, float)) or not 0 <= grace <= 600:
            raise ProviderRefused(f"config['grace'] is {grace!r}; it is a number of seconds.")
        self._grace = float(grace)

    def create(self, key: str, order: WorkerOrder) -> Handle:
        """Start it, unless it runs. It has noted itself when this returns."""
        folder = self._usable_folder(key)
        deadline = time.monotonic() + SECONDS_TO_START
        while (lock := pidfile.hold(folder, key)) is None:
            if (found := self.verify(key)) is not None:
                return found
            if time.monotonic() > deadline:
                raise TimeoutError(f"{key} is held by a process that has not noted itself.")
            time.sleep(0.02)
        try:
            child = self._start(lock, key, order)
        finally:
            os.close(lock)
        while (process := pidfile.find(folder, key)) is None:
            if child.poll() is not None and not pidfile.is_starting(folder, key):
                raise ProviderRefused(f"The process ended at once: {self.output(key)}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"{key} has not started within {SECONDS_TO_START:.0f} seconds.")
            time.sleep(0.02)
        return _handle(process)

    def _start(self, lock: int, key: str, order: WorkerOrder) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", "sagas.providers.launch", str(lock), str(self._folder), key]
        with (self._folder / f"{key}.log").open("ab") as output:
            child = subprocess.Popen(  # noqa: S603  (our own program)
                [*words, *_manage(), *order.arguments()],
                env=_environment(order),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[lock],
            )
        with _mutex:
            _children.append(child)
        return child

    def verify(self, key: str) -> Handle | None:
        if not KEY.fullmatch(key):
            # None of ours: it would be the name of a file.
            return None
        deadline = time.monotonic() + SECONDS_TO_START
        _reap()
        while True:
            process = pidfile.find(self._folder, key)
            if process is not None:
                return _handle(process)
            if not pidfile.is_starting(self._folder, key):
                return None
            if time.monotonic() > deadline:
                raise TimeoutError(f"{key} is being started, and says nothing.")
            time.sleep(0.02)

    def destroy(self, key: str, handle: Handle) -> None:
        """SIGTERM, and SIGKILL after the grace; to the process that has the key and to no other."""
        process = _process(self.verify(key) or {}) or _process(handle)
        if process is None:
            self._refuse_other_machine(key, handle)
            self._forget(key)
            return
        with _Target(process) as target:
            target.send(signal.SIGTERM)
            if not target.wait(self._grace):
                target.send(signal.SIGKILL)
                if not target.wait(SECONDS_TO_DIE):
                    raise TimeoutError(f"Process {process.pid} ({key}) survived SIGKILL.")
        _reap()
        self._forget(key)

    def ping(self, key: str, handle: Handle) -> Ping:
        _reap()
        if not KEY.fullmatch(key):
            return Ping.UNSURE
        if pidfile.find(self._folder, key) is not None or pidfile.is_starting(self._folder, key):
            return Ping.ALIVE
        # Its file may have been removed, or the folder be another one now.
        if _process(handle) is not None:
            return Ping.ALIVE
        return Ping.GONE if handle.get("host") == socket.gethostname() else Ping.UNSURE

    def output(self, key: str) -> str:
        """The end of what it has written."""
        try:
            with (self._folder / f"{key}.log").open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - SHOWN_BYTES))
                return file.read().decode(errors="replace").strip()
        except OSError:
            return ""

    def _usable_folder(self, key: str) -> Path:
        if not KEY.fullmatch(key):
            raise ProviderRefused(f"{key!r} is no key; it has letters, digits, '_', '.' and '-'.")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = self._folder.stat()
        except OSError as error:
            raise ProviderRefused(f"{self._folder} cannot be used: {error}") from error
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o022:
            raise ProviderRefused(
                f"{self._folder} is not this user's alone; others could name a process there. Set "
                "config['folder']."
            )
        return self._folder

    def _refuse_other_machine(self, key: str, handle: Handle) -> None:
        host = handle.get("host")
        if host is not None and host != socket.gethostname():
            raise WrongMachine(key, str(host))

    def _forget(self, key: str) -> None:
        """Remove its files, unless another one is being started under the key."""
        if not KEY.fullmatch(key) or not self._folder.is_dir():
            return
        with suppress(OSError):
            if (lock := pidfile.hold(self._folder, key)) is None:
                return
            try:
                for name in ("json", "log", "lock"):
                    (self._folder / f"{key}.{name}").unlink(missing_ok=True)
            finally:
                os.close(lock)


class _Target:
    """A process to end. Linux hands out something that names it and nobody else; elsewhere it is
    looked at just before."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._descriptor: int | None = None

    def __enter__(self) -> _Target:
        if hasattr(os, "pidfd_open"):
            with suppress(OSError):
                self._descriptor = os.pidfd_open(self._process.pid)
        return self

    def __exit__(self, *_error: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)

    def send(self, number: signal.Signals) -> None:
        # After the descriptor was opened: what it names is what is looked at here.
        if not self._process.is_alive():
            return
        with suppress(ProcessLookupError):
            if self._descriptor is not None:
                signal.pidfd_send_signal(self._descriptor, number)
            else:
                os.kill(self._process.pid, number)

    def wait(self, seconds: float) -> bool:
        """Whether it is gone within so many seconds."""
        deadline = time.monotonic() + seconds
        while self._process.is_alive():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if self._descriptor is not None:
                select.select([self._descriptor], [], [], min(left, 0.2))
            else:
                time.sleep(min(left, 0.05))
            _reap()
        return True


def _reap() -> None:
    """Take note of children that have ended, so that the kernel may forget them."""
    with _mutex:
        _children[:] = [child for child in _children if child.poll() is None]


def _handle(process: Process) -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "pid": process.pid,
        "started": process.started,
        "boot": process.boot,
    }


def _process(handle: Handle) -> Process | None:
    """The process of a handle, if it is one of this machine, and lives."""
    pid, started, boot = (handle.get(name) for name in ("pid", "started", "boot"))
    if handle.get("host") != socket.gethostname() or not isinstance(pid, int):
        return None
    found = Process(pid=pid, started=str(started), boot=str(boot))
    return found if found.is_alive() else None


def _folder_of_user() -> Path:
    return Path(tempfile.gettempdir()) / f"hodei-workers-{os.geteuid()}"


def _manage() -> list[str]:
    """Django's entry point, as this process itself was started where that can be known."""
    own = Path(sys.argv[0])
    if own.name == "manage.py" and own.exists():
        return [sys.executable, str(own.resolve())]
    return [sys.executable, "-m", "django"]


def _environment(order: WorkerOrder) -> dict[str, str]:
    from django.conf import settings  # noqa: PLC0415

    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": os.environ.get("DJANGO_SETTINGS_MODULE")
        or settings.SETTINGS_MODULE,
        "PYTHONPATH": os.pathsep.join(str(Path(path).resolve()) for path in sys.path),
        **order.environment(),
    }
