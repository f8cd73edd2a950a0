"""What the history tells of each migration: how it was applied, how it failed, what it was then.

One query for all of them, since ``schema_status`` is asked often.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hodei.schema.checksums import comparable, fingerprint
from hodei.schema.history import ACCEPTED, FAKED, INTERRUPTED, TABLE, in_progress
from hodei.schema.results import Direction, MigrationKey
from hodei.schema.sources import source_of

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.migrations import Migration

_KINDS = {
    "accepted": f"event = '{ACCEPTED}'",
    "success": f"event <> '{ACCEPTED}' AND success",
    "running": f"event <> '{ACCEPTED}' AND success IS NULL AND {in_progress('runs')}",
    "failure": (
        f"event <> '{ACCEPTED}' AND (NOT success OR success IS NULL AND NOT {in_progress('runs')})"
    ),
}
_EACH_LAST = " UNION ALL ".join(
    f"(SELECT '{kind}', id, direction, event, duration_ms, database_user, "
    f"coalesce(error, '{INTERRUPTED}'), checksum FROM {TABLE} runs "
    f"WHERE runs.app = named.app AND runs.name = named.name AND {condition} "
    "ORDER BY id DESC LIMIT 1)"
    for kind, condition in _KINDS.items()
)
# Of each migration: the last success, the last edit that was accepted, and the last failure. From
# one migration to the next by the index, so that a long history costs no more than a short one.
_LAST = f"""
WITH RECURSIVE named AS (
    (SELECT app, name FROM {TABLE} ORDER BY app, name LIMIT 1)
     UNION ALL
    SELECT next.app, next.name FROM named CROSS JOIN LATERAL (
        SELECT app, name FROM {TABLE} runs WHERE (runs.app, runs.name) > (named.app, named.name)
         ORDER BY app, name LIMIT 1) AS next
)
SELECT named.app, named.name, last.* FROM named CROSS JOIN LATERAL ({_EACH_LAST}) AS last
"""


class Trace(NamedTuple):
    """One row of the history, as far as it matters here."""

    run: int
    direction: str
    event: str
    duration_ms: int | None
    by: str
    #: Of a failure; of anything else it says nothing.
    error: str
    checksum: str | None

    @property
    def faked(self) -> bool:
        return self.event == FAKED


@dataclass(frozen=True, slots=True)
class Past:
    """The last rows of each migration, by kind."""

    traces: dict[tuple[MigrationKey, str], Trace]

    def applied(self, key: MigrationKey) -> Trace | None:
        """How it was applied; None if it was not, or by others."""
        found = self.traces.get((key, "success"))
        return found if found and found.direction == Direction.FORWARD.value else None

    def applied_last(self, keys: Iterable[MigrationKey]) -> Trace | None:
        found = [trace for key in keys if (trace := self.applied(key))]
        return max(found, default=None)

    def failed(self, key: MigrationKey) -> Trace | None:
        """Its last attempt to be applied, if that failed or was interrupted."""
        found = self.traces.get((key, "failure"))
        success = self.traces.get((key, "success"))
        running = self.traces.get((key, "running"))
        if found is None or found.direction != Direction.FORWARD.value:
            return None
        if any(later is not None and later.run > found.run for later in (success, running)):
            return None
        return found

    def is_edited(self, key: MigrationKey, migration: Migration) -> bool:
        """Whether its source differs from what ran, or from what was accepted since."""
        ran, accepted = self.applied(key), self.traces.get((key, "accepted"))
        if ran is None:
            return False
        known = accepted if accepted is not None and accepted.run > ran.run else ran
        if known.checksum is None:
            return False
        now = checksum_now(migration)
        return now is not None and comparable(now, known.checksum) and now != known.checksum


NO_PAST = Past({})


def read_past(connection: BaseDatabaseWrapper) -> Past:
    """Read it over ``connection``, where the table is."""
    with connection.cursor() as cursor:
        cursor.execute(_LAST)
        return Past({((row[0], row[1]), row[2]): Trace._make(row[3:]) for row in cursor.fetchall()})


def checksum_now(migration: Migration) -> str | None:
    """The fingerprint of the text on disk, made once for each text: it takes a millisecond."""
    source = source_of(migration)
    try:
        return None if source is None else _fingerprint(source)
    except (SyntaxError, RecursionError):
        return None


@lru_cache(maxsize=4096)
def _fingerprint(source: str) -> str:
    return fingerprint(source)


def is_third_party(migration: Migration) -> bool:
    """Whether its file came with an installed package."""
    module = sys.modules.get(type(migration).__module__)
    file = getattr(module, "__file__", None)
    if file is None:
        return False
    path = Path(file)
    return any(map(path.is_relative_to, _places())) or "dist-packages" in path.parts


@lru_cache(maxsize=1)
def _places() -> frozenset[str]:
    """Where packages are installed; asking for one takes Python longer than a query."""
    return frozenset({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
