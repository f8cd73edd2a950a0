"""What the environment says, read once for ``hodei.settings``.

Three things need more than ``django-environ`` gives: which kind of process this is (a server and an
agent need timeouts and a real key, ``migrate`` needs neither), the database URL, and refusing to
serve with unsafe settings. Everything here is a function of plain values, so that it can be tested
without importing settings twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import environ
from django.core.exceptions import ImproperlyConfigured

from hodei.db.embedded.location import DATABASE, PORT, SUPERUSER, locate

Role = Literal["command", "agent", "serving"]

#: The key written in examples; a process that serves refuses it.
DEFAULT_SECRET_KEY = "change-me"  # noqa: S105  (it is no secret: it is what we refuse)

AGENTS = frozenset({"jobs_worker", "outbox_relay", "sagas_runner"})
SERVERS = frozenset({"runserver", "testserver"})

SCHEMES = ("postgres", "postgresql", "pgsql", "psql", "postgresql+psycopg", "postgres+psycopg")
TRUE_WORDS = frozenset({"1", "true", "yes", "on"})
FALSE_WORDS = frozenset({"0", "false", "no", "off"})

#: Query parameters of DATABASE_URL that are Django's own, with their types; others go to libpq.
DJANGO_PARAMETERS: Mapping[str, type] = {
    "ATOMIC_REQUESTS": bool,
    "CONN_HEALTH_CHECKS": bool,
    "CONN_MAX_AGE": int,
    "DISABLE_SERVER_SIDE_CURSORS": bool,
}
#: Query parameters that Django's PostgreSQL backend reads from OPTIONS, with their types.
BACKEND_PARAMETERS: Mapping[str, type] = {
    "assume_role": str,
    "pool": bool,
    "server_side_binding": bool,
}


class SettingsError(ImproperlyConfigured):
    """A variable is missing or wrong. The text names the variable and what to set."""

    exit_code = 2


class DatabaseURLError(SettingsError):
    """DATABASE_URL cannot be understood, so nothing could be reached or verified."""

    exit_code = 3


@dataclass(frozen=True, slots=True)
class Process:
    """Which kind of process this is, and the name that PostgreSQL shows for it."""

    role: Role = "command"
    name: str = "python"

    @property
    def application_name(self) -> str:
        """What ``pg_stat_activity`` shows; PostgreSQL cuts it at 63 bytes."""
        return f"hodei {self.name}"[:63]


_process = Process()


def process_of(argv: Sequence[str]) -> Process:
    """Name the process by its command line, as ``manage.py`` received it. Who asks for help only
    reads, whatever the command."""
    command = next((word for word in argv[1:] if not word.startswith("-")), "help")
    if not {"-h", "--help", "--version"}.isdisjoint(argv):
        return Process("command", command)
    if command in SERVERS:
        return Process("serving", command)
    return Process("agent" if command in AGENTS else "command", command)


def declare(process: Process) -> None:
    """Say what this process is, before the settings are read."""
    global _process  # noqa: PLW0603  (one process has one role, and settings are a module)
    _process = process


def current() -> Process:
    """The process as it was declared; a plain command when nobody said."""
    return _process


def as_bool(name: str, value: str) -> bool:
    """Read a yes or no. Raises SettingsError on anything else."""
    word = value.strip().lower()
    if word in TRUE_WORDS:
        return True
    if word in FALSE_WORDS:
        return False
    message = f"{name}={value!r} is neither yes nor no; use 1, true, yes, on or 0, false, no, off."
    raise SettingsError(message)


def as_seconds(name: str, value: str) -> float:
    """Read a duration in seconds, zero meaning none. Raises SettingsError."""
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86_400:
        message = f"{name}={value!r} is not a number of seconds from 0 (none) to 86400."
        raise SettingsError(message)
    return seconds


def redacted(url: str) -> str:
    """The URL without its password, for messages."""
    return re.sub(r"(//[^:/@]*):.*@", r"\1:***@", url)


def _host_in_query(url: str) -> str:
    """Move a percent-encoded socket folder from the host part, which nobody decodes, to ?host=."""
    parts = urlsplit(url)
    userinfo, at, address = parts.netloc.rpartition("@")
    host, colon, port = address.partition(":")
    if not host.lower().startswith("%2f"):
        return url
    query = "&".join(filter(None, [parts.query, f"host={host}"]))
    return urlunsplit(parts._replace(netloc=f"{userinfo}{at}{colon}{port}", query=query))


def database_from_url(url: str) -> dict[str, Any]:
    """Turn a PostgreSQL URL into a Django database dictionary.

    It is ``django-environ``'s reading with its known faults mended: booleans in the query stay
    strings there (``ATOMIC_REQUESTS=false`` would be true), a percent-encoded socket folder is left
    encoded, and ``postgresql+psycopg`` becomes an engine of that name.

    Raises DatabaseURLError, which names what was found and what is allowed, never the password.
    """
    try:
        scheme = urlsplit(url).scheme.lower()
        if scheme not in SCHEMES:
            raise DatabaseURLError(
                f"DATABASE_URL={redacted(url)!r} has the scheme {scheme!r}; Hodei runs on "
                "PostgreSQL alone: use postgresql://USER:PASSWORD@HOST:PORT/NAME."
            )
        plain = _host_in_query("postgresql" + url[len(scheme) :])
        parsed = dict(environ.Env.db_url_config(plain))
    except ValueError as error:
        raise DatabaseURLError(
            f"DATABASE_URL={redacted(url)!r} cannot be read ({error}); "
            "use postgresql://USER:PASSWORD@HOST:PORT/NAME."
        ) from error
    if not parsed.get("NAME"):
        raise DatabaseURLError(
            f"DATABASE_URL={redacted(url)!r} names no database; "
            "use postgresql://USER:PASSWORD@HOST:PORT/NAME."
        )
    query = dict(parse_qsl(urlsplit(plain).query, keep_blank_values=True))
    for name, kind in DJANGO_PARAMETERS.items():
        if name in query:
            parsed[name] = _typed(name, query[name], kind)
    # Django ignores a driver option it was given as a string where it wants True, so each
    # parameter is typed here and every other one is libpq's, as text.
    options = {
        name: _typed(name, value, BACKEND_PARAMETERS.get(name, str))
        for name, value in query.items()
        if name not in DJANGO_PARAMETERS
    }
    if host := options.pop("host", None):
        parsed["HOST"] = host
    return {**parsed, "ENGINE": "django.db.backends.postgresql", "OPTIONS": options}


def _typed(name: str, value: str, kind: type) -> Any:
    if kind is bool:
        return as_bool(f"{name} in DATABASE_URL", value)
    if kind is int and not re.fullmatch(r"\d+", value):
        raise DatabaseURLError(f"{name}={value!r} in DATABASE_URL is not a whole number.")
    return kind(value)


def pool_options(values: Mapping[str, str]) -> dict[str, float | int] | None:
    """The psycopg pool asked for by DB_POOL_MAX (0, the default: none), DB_POOL_MIN and
    DB_POOL_TIMEOUT, as Django's OPTIONS["pool"] wants it. Raises SettingsError."""
    numbers: dict[str, int] = {}
    for name, default in (("DB_POOL_MAX", "0"), ("DB_POOL_MIN", "1")):
        text = values.get(name, default)
        if not re.fullmatch(r"\d{1,4}", text):
            raise SettingsError(f"{name}={text!r} is not a whole number of connections.")
        numbers[name] = int(text)
    largest, smallest = numbers["DB_POOL_MAX"], numbers["DB_POOL_MIN"]
    if not largest:
        return None
    if smallest > largest:
        raise SettingsError(f"DB_POOL_MIN={smallest} is more than DB_POOL_MAX={largest}.")
    timeout = as_seconds("DB_POOL_TIMEOUT", values.get("DB_POOL_TIMEOUT", "5"))
    return {"min_size": smallest, "max_size": largest, "timeout": timeout or 5.0}


def database_from_env(
    values: Mapping[str, str], process: Process, embedded_directory: Path
) -> dict[str, Any]:
    """The ``default`` database: DATABASE_URL where it is set, the embedded PostgreSQL elsewhere.

    Serving and agents get ``statement_timeout`` and ``lock_timeout`` (DB_STATEMENT_TIMEOUT,
    DB_LOCK_TIMEOUT, in seconds); commands get none, since a migration may need hours. Only serving
    gets the pool: an agent has connections of its own, and a command has one.
    What the URL says itself goes before all of this.
    """
    url = values.get("DATABASE_URL", "").strip()
    if url:
        database = database_from_url(url)
    else:
        location = locate(embedded_directory)
        database = {
            "ENGINE": "hodei.db.embedded",
            "NAME": DATABASE,
            "USER": SUPERUSER,
            "HOST": str(location.sockets),
            "PORT": str(PORT),
            "EMBEDDED_DIRECTORY": str(embedded_directory),
            "OPTIONS": {},
        }
    options: dict[str, Any] = database["OPTIONS"]
    options.setdefault("application_name", process.application_name)
    if process.role != "command":
        limits = [
            f"-c {setting}={round(seconds * 1000)}"
            for setting, name, default in (
                ("statement_timeout", "DB_STATEMENT_TIMEOUT", "30"),
                ("lock_timeout", "DB_LOCK_TIMEOUT", "5"),
            )
            if (seconds := as_seconds(name, values.get(name, default)))
        ]
        # The last -c wins, so what the URL asks for stands after ours.
        options["options"] = " ".join([*limits, options.get("options", "")]).strip()
        if not options["options"]:
            del options["options"]
    if process.role == "serving":
        pool = pool_options(values)
        if pool and "pool" not in options:
            options["pool"] = pool
        database.setdefault("CONN_HEALTH_CHECKS", True)
        # Django refuses persistent connections beside a pool.
        database.setdefault("CONN_MAX_AGE", 0 if options.get("pool") else 60)
    return database


@dataclass(frozen=True, slots=True, kw_only=True)
class Safety:
    """What decides whether a process may serve: the settings as they were given."""

    secret_key: str
    debug: bool
    embedded: bool
    embedded_allowed: bool


def refuse_unsafe(process: Process, safety: Safety) -> None:
    """Raise SettingsError where a server or an agent would start with settings that are not safe.

    Commands pass: ``migrate`` and ``check`` need no variable at all.
    """
    if process.role == "command":
        return
    if safety.secret_key in {"", DEFAULT_SECRET_KEY}:
        found = "is not set" if not safety.secret_key else "is still the example's"
        raise SettingsError(
            f"SECRET_KEY {found}; {process.name} does not start without one of its own. "
            "Set SECRET_KEY to 50 random characters, or run 'make install', which writes .env."
        )
    if safety.embedded and not safety.debug and not safety.embedded_allowed:
        raise SettingsError(
            f"DATABASE_URL is not set and DEBUG is off; {process.name} does not run on the "
            "embedded PostgreSQL in production. Set DATABASE_URL=postgresql://USER:PASSWORD@HOST/"
            "NAME, or HODEI_EMBEDDED=1 if the embedded one is meant."
        )
