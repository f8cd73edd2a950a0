"""``python -m hodei.run``: the whole project on this machine, from an empty database to the admin.

What ``make run`` does after the installation: migrate, an admin user, a sample, the status, and the
server until Ctrl-C. Done again, it only starts the server.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import FrameType

from hodei import cli, env

HOST = "127.0.0.1"
MANAGE = Path(__file__).resolve().parent.parent / "manage.py"
SECONDS_TO_ANSWER = 60


def main(arguments: Sequence[str]) -> int:
    """Run everything; returns the exit code: 2 for a port that is taken or without a checkout, 3
    without a database."""
    parser = argparse.ArgumentParser(
        prog="python -m hodei.run",
        description="Migrate, load a sample, make an admin user, and serve until Ctrl-C.",
        epilog="Exit codes: 0 stopped, 2 the port is taken or a setting is wrong, 3 no database.",
    )
    parser.add_argument(
        "--port", type=_port, default=8000, help="the port on 127.0.0.1 (default: 8000)"
    )
    options = parser.parse_args(arguments)
    if not MANAGE.is_file():
        sys.stderr.write(
            f"hodei: there is no {MANAGE}: this runs a checkout of Hodei, not an installed one. In "
            "a project of yours use its own manage.py.\n"
        )
        return 2
    if not _is_free(options.port):
        sys.stderr.write(
            f"hodei: port {options.port} on {HOST} is taken. Stop what uses it, or choose another: "
            f"make run PORT={options.port + 1}\n"
        )
        return 2
    for command in (["migrate"], ["schema_status", "--pending"]):
        code = cli.main([str(MANAGE), *command])
        if code:
            return code
        if command == ["migrate"]:
            _populate()
    return _serve(options.port)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r:.80} is no port; give 1 to 65535.")
    return int(text)


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError:
            return False
    return True


def _populate() -> None:
    """Load the sample and make the admin user, where there are none."""
    from django.contrib.auth import get_user_model  # noqa: PLC0415  (after the settings are read)
    from django.db import connection  # noqa: PLC0415

    from hodei.sample import load_sample  # noqa: PLC0415

    embedded = connection.settings_dict["ENGINE"] == "hodei.db.embedded"
    if embedded or env.as_bool("SAMPLE", os.environ.get("SAMPLE") or "0"):
        report = load_sample()
        if report is not None:
            _say(str(report))
    users = get_user_model()._default_manager
    if not users.filter(is_superuser=True).exists():
        password = secrets.token_urlsafe(12)
        users.create_superuser(username="admin", password=password)
        _say(f"Admin user: admin, password: {password}  (shown this once)")
    connection.close()


def _serve(port: int) -> int:
    """Run the server until it ends or Ctrl-C; the embedded database ends with this process."""
    command = [sys.executable, str(MANAGE), "runserver", f"{HOST}:{port}"]
    server = subprocess.Popen(command)  # noqa: S603  (our own manage.py)
    with _signals_for(server):
        if _answers(server, port):
            _say(f"\nOpen http://{HOST}:{port}/admin/ and stop with Ctrl-C.")
        code = server.wait()
    interrupted = (0, -signal.SIGINT, -signal.SIGTERM, 130)
    return 0 if code in interrupted else code


@contextlib.contextmanager
def _signals_for(server: subprocess.Popen[bytes]) -> Iterator[None]:
    """Leave Ctrl-C to the server, which the terminal sends it as well, and pass SIGTERM on."""

    def ignore(number: int, frame: FrameType | None) -> None:
        """A handler, and not SIG_IGN, which a child would inherit."""

    def terminate(number: int, frame: FrameType | None) -> None:
        server.terminate()

    before = signal.signal(signal.SIGINT, ignore), signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGTERM, before[1])


def _answers(server: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the admin answers; False when the server ended or did not answer in time."""
    deadline = time.monotonic() + SECONDS_TO_ANSWER
    while server.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError, HTTPException):
            connection = HTTPConnection(HOST, port, timeout=5)
            connection.request("HEAD", "/admin/login/")
            if connection.getresponse().status == 200:
                return True
        time.sleep(0.1)
    return False


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
