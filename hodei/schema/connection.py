"""Is the database there? And if not: which of a dozen reasons is it, and what is to be done."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from django.db import (
    DEFAULT_DB_ALIAS,
    Error,
    NotSupportedError,
    OperationalError,
    connections,
)

from hodei.redaction import redact_text
from hodei.schema.errors import SchemaError
from hodei.schema.reasons import (
    ADVICE,
    MINIMUM_VERSION,
    Reason,
    reason_by_sqlstate,
    reason_by_text,
)

if TYPE_CHECKING:
    from django.db.backends.postgresql.base import DatabaseWrapper

# What psycopg and libpq put before the words: no more than the message says itself.
_LIBRARY_PREFIX = re.compile(
    r"^(connection failed: |connection is bad: )?"
    r'(connection to server (at|on socket) "[^"]*"(, port \d+)? failed: )?'
)
#: Of a table, a column or a function that this code knows and the database does not.
_NOT_MIGRATED = frozenset({"42P01", "42703", "42883"})
#: What a standby says, and a lock_timeout.
_READ_ONLY, _LOCKED = "25006", "55P03"
_LIBPQ_HINT = re.compile(r"\s*Is the server running[^?]*\?")


class EngineNotSupported(SchemaError):  # noqa: N818  (it reads as the fact it states)
    """The alias is not on PostgreSQL, so nothing here can work."""

    exit_code = 2


@dataclass(eq=False)
class ConnectionFailed(SchemaError):  # noqa: N818  (it reads as the fact it states)
    """There is no usable connection to this database.

    ``str()`` is one line: which database, why, the server's own words, and what to do. It never
    holds the password.
    """

    host: str
    port: str
    database: str
    user: str
    reason: Reason
    #: What the server, or the library that tried to reach it, said; on one line.
    words: str

    exit_code: ClassVar[int] = 3

    def __post_init__(self) -> None:
        # The generated __init__ does not call Exception's, and pickling needs the arguments.
        self.args = (self.host, self.port, self.database, self.user, self.reason, self.words)

    def __str__(self) -> str:
        where = (
            f"socket {self.host} (port {self.port})"
            if self.host.startswith("/")
            else f"{self.host}:{self.port}"
        )
        who = f"user {self.user!r}" if self.user else "the default user"
        return (
            f"Cannot use database {self.database!r} at {where} as {who}: "
            f"{self.reason} ({self.words}). {ADVICE[self.reason]}"
        )


def connection_failed(error: Error, using: str = DEFAULT_DB_ALIAS) -> ConnectionFailed | None:
    """Translate an error of Django's database layer, or return None for what is no such failure:
    an error of a statement, a lock timeout among them, came over a working connection.

    ``using`` is the alias that was being used; one that does not exist counts as ``default``.
    """
    reason = _reason(error)
    if reason is None:
        return None
    known = connections.settings
    settings = known.get(using) or known.get(DEFAULT_DB_ALIAS) or {}
    target = _target(error, settings)
    words = _words(error, _passwords(settings), target)
    return ConnectionFailed(**target, reason=reason, words=words)


def words_of(error: Exception, using: str) -> str:
    """One sentence or two for an operator, for whatever a database said no to: an error of Django
    or of the driver."""
    if not isinstance(error, Error):
        wrapped = OperationalError(str(error))
        wrapped.__cause__ = error
        error = wrapped
    failure = connection_failed(error, using)
    if failure is not None:
        return str(failure)
    sqlstate = getattr(error.__cause__, "sqlstate", None)
    if sqlstate in _NOT_MIGRATED:
        words = str(error).partition("\n")[0]
        return (
            f"The schema of database {using!r} is not the one of this code: {words}. Run "
            "manage.py migrate; schema_status lists what is pending."
        )
    # Its details may be a whole row, and so hold secrets.
    said = getattr(getattr(error.__cause__, "diag", None), "message_primary", None)
    words = redact_text(" ".join((said or str(error)).split()))
    if sqlstate == _READ_ONLY:
        return (
            f'Nothing can be written to database {using!r}: "{words}". Name the primary server, or '
            "look at default_transaction_read_only there."
        )
    if sqlstate == _LOCKED:
        return (
            f'Others hold a lock in database {using!r} for too long: "{words}". Try again, or look '
            "at pg_stat_activity there."
        )
    return (
        f'Could not use database {using!r}: "{words}". '
        "Check the role's rights, and what else runs there."
    )


@contextmanager
def connection_errors(using: str) -> Iterator[None]:
    """Raise ConnectionFailed for a failure to connect inside the block; other errors pass."""
    try:
        yield
    except Error as error:
        failure = connection_failed(error, using)
        if failure is None:
            raise
        raise failure from error


def require_postgresql(using: str) -> DatabaseWrapper:
    """Return the alias's connection without opening it, or raise EngineNotSupported."""
    connection = connections[using]
    if connection.vendor != "postgresql":
        engine = connection.settings_dict["ENGINE"]
        raise EngineNotSupported(
            f"Database {using!r} uses the engine {engine!r}; Hodei works on PostgreSQL alone: set "
            f"DATABASES[{using!r}]['ENGINE'] to 'django.db.backends.postgresql', or name another "
            "database."
        )
    return connection  # type: ignore[return-value]


def check_connection(using: str = DEFAULT_DB_ALIAS) -> None:
    """Open the connection if need be, check the server's version, and ask it for an answer.

    A connection that died since it was last used is replaced first, except inside a transaction.
    Raises ConnectionFailed or EngineNotSupported.
    """
    connection = require_postgresql(using)
    if connection.connection and not connection.in_atomic_block and not connection.is_usable():
        connection.close()
    try:
        with connection_errors(using):
            connection.ensure_connection()
            found = connection.connection.info.server_version
            if found < MINIMUM_VERSION * 10_000:
                major, minor = divmod(found, 10_000)
                raise NotSupportedError(
                    f"PostgreSQL {MINIMUM_VERSION} or later is required (found {major}.{minor})."
                )
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
    except ConnectionFailed as failure:
        if failure.reason is Reason.TOO_OLD:
            # Django keeps the connection it refused, and would use it the next time.
            connection.close()
        raise


def _reason(error: Error) -> Reason | None:
    cause, text = error.__cause__, str(error)
    if isinstance(error, NotSupportedError) and cause is None:
        # Django's own check of the version; anything else here is about a feature.
        return Reason.TOO_OLD if reason_by_text(text) is Reason.TOO_OLD else None
    sqlstate = getattr(cause, "sqlstate", None)
    if sqlstate is not None:
        diagnosis = getattr(cause, "diag", None)
        if getattr(diagnosis, "severity_nonlocalized", None) == "ERROR":
            # A statement failed inside a session that lives on: dblink, for one, uses class 08.
            return None
        reason = reason_by_sqlstate(sqlstate)
        return reason and (reason_by_text(text) or reason)
    if not _is_about_the_connection(cause):
        return None
    return reason_by_text(text) or Reason.OTHER


def _is_about_the_connection(cause: BaseException | None) -> bool:
    """Whether a driver's error without SQLSTATE tells of the connection, not of its misuse."""
    from psycopg import OperationalError, ProgrammingError, errors  # noqa: PLC0415

    if isinstance(cause, ProgrammingError):
        return reason_by_text(str(cause)) is Reason.BAD_OPTION
    return (
        isinstance(cause, OperationalError)
        and not isinstance(cause, errors.PipelineAborted)
        and "another command is already in progress" not in str(cause)
    )


def _target(error: Error, settings: Mapping[str, Any]) -> dict[str, str]:
    """Where the attempt went: as the driver resolved it, or else as the settings say."""
    from psycopg import Error as DriverError  # noqa: PLC0415

    options = settings.get("OPTIONS") or {}
    target = {
        "host": str(settings.get("HOST") or options.get("host") or "localhost"),
        "port": str(settings.get("PORT") or options.get("port") or "5432"),
        "database": str(settings.get("NAME") or options.get("dbname") or ""),
        "user": str(settings.get("USER") or options.get("user") or ""),
    }
    tried = getattr(error.__cause__, "pgconn", None)
    for name, attribute in (
        ("host", "host"),
        ("port", "port"),
        ("database", "db"),
        ("user", "user"),
    ):
        try:
            value: bytes | None = getattr(tried, attribute, None)
        except DriverError:  # libpq's connection is closed, and tells nothing any more
            break
        if value:
            target[name] = value.decode(errors="replace")
    return target


def _passwords(settings: Mapping[str, Any]) -> set[str]:
    options = settings.get("OPTIONS") or {}
    return {str(settings.get("PASSWORD") or ""), str(options.get("password") or "")} - {""}


def _words(error: Error, passwords: set[str], target: Mapping[str, str]) -> str:
    text = _LIBPQ_HINT.sub("", _LIBRARY_PREFIX.sub("", str(error)))
    # A password that is also the user's name, say, would only be confirmed by a mask there.
    for password in passwords - set(target.values()):
        text = re.sub(rf"(?<!\w){re.escape(password)}(?!\w)", "***", text)
    return " ".join(text.split()).rstrip(".")
