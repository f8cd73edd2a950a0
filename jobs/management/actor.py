"""Who gives a command, for the audit."""

from __future__ import annotations

import getpass
import os
import socket


def actor() -> str:
    """``user@host``, of the operating system."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # A container may run as a number that no passwd file knows.
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
