"""One private PostgreSQL: started on first need, shared by processes, stopped in order.

``Server(locate(folder), Binaries(Path("/usr/lib/postgresql/15/bin")))`` is a server of another
version in another folder; ``start``, ``stop`` and ``url`` are all that a test needs.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hodei.db.embedded import binaries as programs
from hodei.db.embedded import cluster, folders, locks, postmaster
from hodei.db.embedded.account import Account, account_of
from hodei.db.embedded.binaries import Binaries
from hodei.db.embedded.environment import client_of, for_server
from hodei.db.embedded.errors import ServerFailed
from hodei.db.embedded.location import DATABASE, PORT, Location

#: Recovery after a crash may have much to do.
START_SECONDS = 60.0
STOP_SECONDS = 60.0
#: A log longer than this is put aside when the server starts.
LOG_BYTES = 1 << 20

#: Servers that are this process's children: they must be waited for when they end before it.
_children: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True, slots=True)
class Server:
    """The server of one location, run by these programs. Processes agree by locks on files."""

    location: Location
    binaries: Binaries

    def start(self, timeout: float = START_SECONDS) -> None:
        """Create the data where there is none and start the server where it does not run.

        Returns when it takes connections and has the database. Raises EmbeddedError.
        """
        account = account_of(self.location)
        folders.prepare(self.location, account)
        with locks.exclusive(self.location.start_lock, self.location.uid) as start_lock:
            _reap()
            folders.point_to(self.location)
            folders.prepare_sockets(self.location, account)
            if not postmaster.is_ready(self.location, account.uid):
                self._start(account, start_lock, time.monotonic() + timeout)
            self._complete(account)

    def stop(self, timeout: float = STOP_SECONDS) -> bool:
        """Stop the server, ending its connections (a fast shutdown); False if none runs."""
        return stop(self.location, timeout)

    def url(self, database: str = DATABASE) -> str:
        return self.location.url(database)

    def is_running(self) -> bool:
        return postmaster.alive(self.location)

    def _start(self, account: Account, start_lock: int, deadline: float) -> None:
        if _settled(self.location, account, deadline):
            return
        runnable = programs.reachable(self.binaries, account, self.location.state)
        if not cluster.check(self.location, account, self.binaries):
            cluster.create(self.location, account, runnable, start_lock)
        _clear_leftovers(self.location, deadline)
        _launch(self.location, account, runnable, deadline)

    def _complete(self, account: Account) -> None:
        """Create the database where it is missing, once for each start of the server."""
        running = postmaster.of(self.location)
        name = running.name if running else ""
        try:
            if self.location.completed.read_text(encoding="ascii") == name:
                return
        except OSError:
            pass
        _create_database(self.location, self.binaries)
        self.location.completed.write_text(name, encoding="ascii")
        account.own(self.location.completed)


def stop(location: Location, timeout: float = STOP_SECONDS) -> bool:
    """Stop the server of this location; False if none runs. Raises ServerFailed."""
    if not location.home.is_dir():
        return False
    with locks.exclusive(location.start_lock, location.uid):
        _reap()
        if not postmaster.alive(location):
            return False
        found = postmaster.of(location)
        if found is None or not postmaster.runs(found.pid, location.data):
            if _end_orphans(location, time.monotonic() + timeout):
                return True
            raise ServerFailed(
                f"A server works on {location.data}, but not as a process that can be seen from "
                "here (in another container, perhaps): stop it there."
            )
        for number, seconds in ((signal.SIGINT, timeout), (signal.SIGQUIT, 10.0)):
            os.kill(found.pid, number)
            if _wait(lambda: not postmaster.alive(location), time.monotonic() + seconds):
                with contextlib.suppress(OSError):
                    location.sockets.rmdir()
                return True
        raise ServerFailed(
            f"PostgreSQL (process {found.pid}) did not stop within {timeout:.0f} seconds; its log "
            f"is {location.log}."
        )


def _settled(location: Location, account: Account, deadline: float) -> bool:
    """Wait while a server is starting or ending: True when one is ready, False when none is left.

    Raises ServerFailed where one stays and cannot be used.
    """

    def settled() -> bool:
        return not postmaster.alive(location) or postmaster.is_ready(location, account.uid)

    patience = min(deadline, time.monotonic() + 0.5)
    while not _wait(settled, patience):
        found = postmaster.of(location)
        if found is None or not postmaster.runs(found.pid, location.data):
            _end_orphans(location, patience)
        elif found.status == "ready":
            raise ServerFailed(
                f"A PostgreSQL (process {found.pid}) works on {location.data}, but cannot be "
                f"reached at {location.socket}; its socket is in {found.sockets or 'no folder'}. "
                f"Stop it (kill -INT {found.pid}) and try again."
            )
        if time.monotonic() > deadline:
            raise ServerFailed(
                f"The PostgreSQL on {location.data} is neither ready nor gone; the last lines of "
                f"{location.log}:\n{_tail(location.log)}"
            )
        patience = min(deadline, time.monotonic() + 2)
    return postmaster.alive(location)


def _end_orphans(location: Location, deadline: float) -> bool:
    """End the children that a killed server has left busy with a query; False if some stay, as
    where they cannot be seen from here."""
    _signal(postmaster.family(location.data), signal.SIGQUIT)
    return _wait(lambda: not postmaster.alive(location), deadline)


def _clear_leftovers(location: Location, deadline: float) -> None:
    """Remove the files of a server that is gone, which would keep the next one from starting when
    another process has its number now, as after a restart of a container.

    Call it when no server works on the data.
    """
    socket_lock = location.sockets / f"{location.socket.name}.lock"
    holder = postmaster.read(socket_lock)
    if holder is not None and postmaster.runs(holder.pid, location.data):
        # Its folder was removed while it ran: it serves nothing, and holds the socket.
        _signal([holder.pid], signal.SIGQUIT)
        _wait(lambda: not postmaster.runs(holder.pid, location.data), deadline)
    for left in (location.data / "postmaster.pid", socket_lock, location.socket):
        left.unlink(missing_ok=True)


def _launch(location: Location, account: Account, binaries: Binaries, deadline: float) -> None:
    """Start the server and wait until it takes connections."""
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(location.sockets),
        "port": str(PORT),
    }
    command = [binaries.program("postgres"), "-D", str(location.data)]
    command += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    server_lock = locks.opened(location.server_lock, location.uid)
    log = _open_log(location, account)
    try:
        # Whoever asks whether a server runs holds the lock for an instant.
        if not _wait(lambda: locks.try_exclusive(server_lock), deadline):
            raise ServerFailed(f"Another process holds {location.server_lock}.")
        beginning = os.fstat(log).st_size
        # In a session of its own, a Ctrl-C in the terminal does not reach it. The lock goes with
        # it, and with every process that it starts (see Note [Open file descriptions]).
        child = subprocess.Popen(  # noqa: S603
            command,
            env=for_server(),
            cwd=location.data,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=(server_lock,),
            **account.identity(),
        )
    except OSError as error:
        raise ServerFailed(f"{command[0]} cannot be started: {error}.") from error
    finally:
        os.close(server_lock)
        os.close(log)
    if not _children:
        atexit.register(_forget_children)
    _children.append(child)

    def over() -> bool:
        return child.poll() is not None or postmaster.is_ready(location, account.uid)

    if _wait(over, deadline) and child.poll() is None:
        return
    what = "did not start" if child.returncode is not None else "is not ready yet"
    raise ServerFailed(
        f"PostgreSQL {what} with the data in {location.data}; the last lines of {location.log}:\n"
        f"{_tail(location.log, beginning)}"
    )


def _open_log(location: Location, account: Account) -> int:
    log = location.log
    if log.is_file() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_name(f"{log.name}.1"))
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    account.own(log)
    return handle


def _create_database(location: Location, binaries: Binaries) -> None:
    missing = f"NOT EXISTS (SELECT FROM pg_database WHERE datname = '{DATABASE}')"
    statement = f"SELECT 'CREATE DATABASE {DATABASE}' WHERE {missing} \\gexec\n"
    done = subprocess.run(  # noqa: S603
        [binaries.program("psql"), "-qXv", "ON_ERROR_STOP=1"],
        env=client_of(location, "postgres"),
        input=statement,
        capture_output=True,
        text=True,
        check=False,
        timeout=START_SECONDS,
    )
    if done.returncode:
        raise ServerFailed(
            f"The database {DATABASE!r} cannot be created in {location.data}: {done.stderr.strip()}"
        )


def _tail(log: Path, beginning: int = 0) -> str:
    """The last lines that were logged after this byte."""
    try:
        with log.open("rb") as file:
            file.seek(max(beginning, log.stat().st_size - 4096))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError as error:
        return f"  (it cannot be read: {error.strerror})"
    return "\n".join(f"  {line}" for line in lines[-8:]) or "  (it is empty)"


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def _wait(condition: Callable[[], bool], deadline: float) -> bool:
    """Ask until it holds, 10 ms apart: another process changes it, and nothing would wake us."""
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _reap() -> None:
    """Let go of servers that were this process's children and have ended."""
    _children[:] = [child for child in _children if child.poll() is None]


def _forget_children() -> None:
    # A server that others use outlives us; the warning about a running child is not for it.
    for child in _children:
        if child.poll() is None:
            child.returncode = 0
