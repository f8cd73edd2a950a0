"""Who gives a command, for the audit."""

from __future__ import annotations

import getpass
import os
import socket


def actor() -> str:
    """``user@host``, of the operating system."""
    return f"{os_user()}@{socket.gethostname()}"


def os_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run as a number that no passwd file knows.
        return str(os.getuid())
