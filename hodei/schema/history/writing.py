"""What a run writes into the history, and a person who accepts an edit."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from hodei.schema.connection import connection_errors, require_postgresql
from hodei.schema.errors import SchemaError
from hodei.schema.history.table import (
    ACCEPTED,
    IMPORTED,
    INTERRUPTED,
    MADE,
    RAN,
    ROLLED_BACK,
    TABLE,
)
from hodei.schema.results import Direction, MigrationKey

if TYPE_CHECKING:
    import psycopg
    from django.db.backends.postgresql.base import DatabaseWrapper

    from hodei.schema.run.origin import Origin


logger = logging.getLogger(__name__)

_LONGEST_TRACEBACK = 50_000


class HistoryNotWritable(SchemaError):  # noqa: N818  (it reads as the fact it states)
    """The role may not make the history's table, or not write into it. Nothing was changed."""

    exit_code = 3


class History:
    """Writes of one run. ``session`` is in autocommit and never Django's."""

    def __init__(self, session: psycopg.Connection[Any], schema: str, origin: Origin) -> None:
        self._session = session
        self._table = f'"{schema.replace(chr(34), chr(34) * 2)}".{TABLE}'
        self._origin = asdict(origin)
        self._prepared = False

    def prepare(self) -> None:
        """Make the table where it is missing; close the rows of runs that were killed.

        Only under the lock of the run, and once: whatever is open then has nobody to close it.
        Raises HistoryNotWritable.
        """
        from psycopg import Error  # noqa: PLC0415

        if self._prepared:
            return
        try:
            there = self._session.execute("SELECT to_regclass(%s)", [self._table]).fetchone()
            if there is None or there[0] is None:
                self._session.execute(MADE.format(table=self._table))
            self._session.execute(
                f"""
                UPDATE {self._table} SET success = false, error = %s
                 WHERE id IN (SELECT id FROM {self._table} WHERE success IS NULL
                                 FOR UPDATE SKIP LOCKED)
                """,
                [INTERRUPTED],
            )
        except Error as error:
            raise HistoryNotWritable(
                f'Cannot write the history, table {self._table}: "{_one_line(error)}". Nothing was '
                "migrated. Let the role create tables in this schema, and write into this one."
            ) from error
        self._prepared = True

    def started(
        self, app: str, name: str, direction: Direction, checksum: str | None, event: str = RAN
    ) -> int:
        """Return the number of the new row. It is committed: a killed run leaves it open."""
        row = self._session.execute(
            f"""
            INSERT INTO {self._table} (batch, event, app, name, direction, checksum, database_user,
                os_user, host, command, release, hodei_version, django_version)
            VALUES (%(batch)s, %(event)s, %(app)s, %(name)s, %(direction)s, %(checksum)s,
                %(database_user)s, %(os_user)s, %(host)s, %(command)s, %(release)s,
                %(hodei_version)s, %(django_version)s)
            RETURNING id
            """,
            {
                **self._origin,
                "app": app,
                "name": name,
                "direction": direction.value,
                "checksum": checksum,
                "event": event,
            },
        ).fetchone()
        return int(row[0]) if row else 0

    def succeeded(
        self, connection: DatabaseWrapper, run: int, *, event: str, duration_ms: int | None
    ) -> None:
        """Joins the caller's transaction on ``connection``, which is the migration's own."""
        with connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE {self._table} SET success = true, finished_at = clock_timestamp(), "
                "event = %s, duration_ms = %s WHERE id = %s",
                [event, duration_ms, run],
            )

    def imported(self, connection: DatabaseWrapper, source: str, rows: str) -> int:
        """Copy what another tool has recorded of its own, once; returns how many were new.

        ``rows`` is SQL that gives name, started_at, success, duration_ms and checksum, in the order
        in which they are to stand. Who ran them is not known. Joins the caller's transaction.
        """
        literal = rows.replace("%", "%%")
        with connection.cursor() as cursor:
            cursor.execute(
                f"""
                INSERT INTO {self._table} (batch, event, app, name, direction, started_at,
                    finished_at, duration_ms, success, error, checksum, database_user, os_user,
                    host, command, release, hodei_version, django_version, reason)
                SELECT %(batch)s, %(event)s, %(source)s, found.name, 'forward', found.at,
                       found.at + coalesce(found.duration_ms, 0) * interval '1 ms',
                       found.duration_ms, found.success,
                       CASE WHEN NOT found.success THEN %(failed)s END, found.checksum,
                       '', '', '', %(command)s, '', '', '', %(reason)s
                  FROM (SELECT name, coalesce(success, true) AS success, checksum,
                               CASE WHEN duration_ms >= 0 THEN duration_ms::bigint END
                                   AS duration_ms,
                               -- Python has no infinity, nor years of five digits.
                               CASE WHEN started_at BETWEEN '0001-01-02' AND '9999-12-30'
                                    THEN started_at ELSE now() END AS at
                          FROM ({literal}) AS theirs) AS found
                 WHERE NOT EXISTS (SELECT FROM {self._table} known
                                    WHERE known.event = %(event)s AND known.app = %(source)s
                                      AND known.name = found.name)
                """,
                {
                    "batch": self._origin["batch"],
                    "command": self._origin["command"],
                    "event": IMPORTED,
                    "source": source,
                    "failed": f"Recorded as failed in {source}.",
                    "reason": f"Imported from {source}, with its time, checksum and duration.",
                },
            )
            return int(cursor.rowcount)

    def failed(
        self,
        run: int,
        *,
        duration_ms: int,
        error: str,
        trace: str,
        sqlstate: str | None,
        operation: str | None,
    ) -> None:
        """Write it down unless its success is committed. Never raises: an error is on its way."""
        from psycopg import Error  # noqa: PLC0415

        try:
            self._session.execute(
                f"""
                UPDATE {self._table}
                   SET success = false, finished_at = clock_timestamp(), duration_ms = %s,
                       error = %s, traceback = %s, sqlstate = %s, operation = %s
                 WHERE id = %s AND success IS NULL
                """,
                [
                    duration_ms,
                    _storable(error),
                    _storable(trace)[-_LONGEST_TRACEBACK:],
                    sqlstate,
                    operation,
                    run,
                ],
            )
        except Error:
            logger.exception("a failed migration could not be recorded run=%s", run)

    def rolled_back(self, runs: Sequence[int]) -> None:
        """Write down that these did not last: the transaction of all of them was rolled back."""
        from psycopg import Error  # noqa: PLC0415

        try:
            self._session.execute(
                f"UPDATE {self._table} SET success = false, finished_at = clock_timestamp(), "
                "error = %s WHERE id = ANY(%s) AND success IS NULL",
                [ROLLED_BACK, list(runs)],
            )
        except Error:
            logger.exception("what was rolled back could not be recorded runs=%s", runs)


def accept(using: str, key: MigrationKey, *, checksum: str, reason: str, origin: Origin) -> None:
    """Record that the migration's text is meant to be what it is now. Raises what Django raises."""
    connection = require_postgresql(using)
    fields = {
        **asdict(origin),
        "event": ACCEPTED,
        "app": key[0],
        "name": key[1],
        "direction": Direction.FORWARD.value,
        "success": True,
        "checksum": checksum,
        "reason": reason,
    }
    with connection_errors(using), connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {TABLE} ({', '.join(fields)}, finished_at) "
            f"VALUES ({', '.join(['%s'] * len(fields))}, clock_timestamp())",
            list(fields.values()),
        )


def _storable(text: str) -> str:
    # PostgreSQL has no NUL, and UTF-8 no lone surrogates.
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
