"""The environment of PostgreSQL's programs: the caller's PG* variables are about other servers."""

from __future__ import annotations

import os
from collections.abc import Mapping

from hodei.db.embedded.location import DATABASE, PORT, SUPERUSER, Location

#: What a server or initdb is given of the caller's environment. No secret is among it.
KEPT = ("PATH", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")

#: libpq reads these where a parameter is not given, so each is given when its variable is set.
NEUTRAL: Mapping[str, tuple[str, str]] = {
    "PGHOSTADDR": ("hostaddr", ""),
    "PGOPTIONS": ("options", ""),
    "PGSSLMODE": ("sslmode", "disable"),
    "PGSSLNEGOTIATION": ("sslnegotiation", "postgres"),
    "PGGSSENCMODE": ("gssencmode", "disable"),
    "PGCHANNELBINDING": ("channel_binding", "disable"),
    "PGREQUIREAUTH": ("require_auth", ""),
    "PGREQUIREPEER": ("requirepeer", ""),
    "PGTARGETSESSIONATTRS": ("target_session_attrs", "any"),
    "PGLOADBALANCEHOSTS": ("load_balance_hosts", "disable"),
}


def for_server() -> dict[str, str]:
    """What the server and initdb are started with; their messages are in English."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {**kept, "LC_ALL": "C"}


def for_client() -> dict[str, str]:
    """What psql and pg_dump are started with: everything but PG*."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def client_of(location: Location, database: str = DATABASE) -> dict[str, str]:
    """What a client is started with to reach this server; a database named in its arguments goes
    before this one."""
    address = {"PGHOST": str(location.sockets), "PGPORT": str(PORT), "PGUSER": SUPERUSER}
    return {**for_client(), **address, "PGDATABASE": database}


def neutral_parameters() -> dict[str, str]:
    """Connection parameters that keep the caller's PG* variables out of a connection."""
    return dict(pair for name, pair in NEUTRAL.items() if name in os.environ)
