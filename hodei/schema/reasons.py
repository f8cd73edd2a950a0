"""Pure: why a connection failed, read from what was said.

A failure to connect reaches Python as one exception class without an SQLSTATE, so the reason is
read from the text. The texts of libpq and psycopg are English; a server may be set to another
language, and then a refusal of its own ends as ``Reason.OTHER``, its words intact.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

#: The oldest PostgreSQL this app works with. Django may accept an older one.
MINIMUM_VERSION = 15


class Reason(StrEnum):
    """Why there is no usable connection; the value is how the message names it."""

    UNKNOWN_HOST = "no such host"
    REFUSED = "connection refused"
    UNREACHABLE = "host unreachable"
    TIMEOUT = "timeout"
    WRONG_PASSWORD = "wrong password"  # noqa: S105  (a reason, not a password)
    NO_ROLE = "no such role"
    NOT_ADMITTED = "not admitted"
    NO_DATABASE = "no such database"
    STARTING = "server not ready"
    FULL = "too many connections"
    TLS = "no agreement on TLS"
    BAD_OPTION = "bad connection option"
    TOO_OLD = "server too old"
    LOST = "connection lost"
    OTHER = "connection failed"


ADVICE: Mapping[Reason, str] = {
    Reason.UNKNOWN_HOST: "Correct the host's name, or the name server's.",
    Reason.REFUSED: "Start PostgreSQL there, or correct the host and port.",
    Reason.UNREACHABLE: "Check the address, the network and its firewalls.",
    Reason.TIMEOUT: "Check the address and the firewalls, or whether the server is overloaded.",
    Reason.WRONG_PASSWORD: "Correct the user or the password.",
    Reason.NO_ROLE: "Create the role, or correct the user.",
    Reason.NOT_ADMITTED: "Admit this user, database and address (pg_hba.conf, GRANT CONNECT).",
    Reason.NO_DATABASE: "Create the database, or correct its name.",
    Reason.STARTING: "Wait until the server accepts connections, then try again.",
    Reason.FULL: "End idle connections, raise max_connections, or put a pooler in front.",
    Reason.TLS: "Make sslmode and the certificates fit what the server offers.",
    Reason.BAD_OPTION: "Correct this option of the connection.",
    Reason.TOO_OLD: f"Use PostgreSQL {MINIMUM_VERSION} or later.",
    Reason.LOST: "Look at the server's log, then try again.",
    Reason.OTHER: "Check the connection's settings and the server's log.",
}

#: Tried in this order, the specific before the general; any of the patterns will do.
_TEXTS: Mapping[Reason, tuple[str, ...]] = {
    Reason.TOO_OLD: (r"or later is required \(found",),
    Reason.UNKNOWN_HOST: (
        r"failed to resolve host",
        r"could not translate host name",
        r"name or service not known",
    ),
    Reason.WRONG_PASSWORD: (
        r"authentication failed for user",
        r"no password supplied",
        r"wrong password",
    ),
    Reason.NOT_ADMITTED: (
        r"pg_hba\.conf",
        r"not permitted to log in",
        r"permission denied for database",
        r"not currently accepting connections",
    ),
    Reason.NO_ROLE: (r'role ".*" does not exist',),
    Reason.NO_DATABASE: (r'database ".*" does not exist', r"no such database"),
    Reason.STARTING: (
        r"the database system is (starting up|shutting down|in recovery|not yet accepting)",
    ),
    Reason.FULL: (
        r"too many clients",
        r"too many connections",
        r"remaining connection slots",
    ),
    Reason.BAD_OPTION: (
        r"invalid connection option",
        r'missing "=" after',
        r"invalid port number",
        r"invalid \w+ value",
        r"invalid value for parameter",
        r"unrecognized configuration parameter",
        r"unsupported startup parameter",
        r"definition of service .* not found",
    ),
    Reason.TIMEOUT: (r"timeout expired", r"timed out", r"couldn't get a connection after"),
    Reason.REFUSED: (r"connection refused", r"on socket .* failed: no such file"),
    Reason.UNREACHABLE: (r"network is unreachable", r"no route to host"),
    Reason.LOST: (
        r"server closed the connection",
        r"connection is (lost|closed)",
        r"connection reset",
        r"syscall error",
        r"unexpected eof",
        r"terminating connection",
    ),
    Reason.TLS: (r"\bssl\b", r"\btls\b", r"certificate"),
}

#: SQLSTATE, or its class of two, where there is one: behind a pooler, or when a session is ended.
_SQLSTATES: Mapping[str, Reason] = {
    "28P01": Reason.WRONG_PASSWORD,
    "28": Reason.NOT_ADMITTED,
    "3D000": Reason.NO_DATABASE,
    "53300": Reason.FULL,
    "57P01": Reason.LOST,
    "57P02": Reason.LOST,
    "57P03": Reason.STARTING,
    "08": Reason.LOST,
}


def reason_by_text(text: str) -> Reason | None:
    """Recognise the reason in the words, or return None."""
    lowered = text.lower()
    for reason, patterns in _TEXTS.items():
        if any(re.search(pattern, lowered) for pattern in patterns):
            return reason
    return None


def reason_by_sqlstate(sqlstate: str) -> Reason | None:
    """The reason an SQLSTATE stands for, or None where it is not about the connection."""
    return _SQLSTATES.get(sqlstate) or _SQLSTATES.get(sqlstate[:2])
