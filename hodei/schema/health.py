"""Two addresses for probes: is the process alive, and may it serve?

    path("health/", include("hodei.schema.health"))

``live`` answers whenever the process does, and asks no database: a restart cures no database.
``ready`` answers 200 where every database of HODEI_HEALTH_DATABASES can be read and nothing is
pending, and 503 elsewhere. Both are for machines: no login, no session, no cache, and nothing in
the answer that a stranger may not know. The log has the names and the server's words.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import DEFAULT_DB_ALIAS, Error, connections, transaction
from django.http import JsonResponse
from django.urls import path
from django.views.decorators.http import require_safe

from hodei.schema.connection import ConnectionFailed
from hodei.schema.errors import SchemaError
from hodei.schema.readiness import KnownMigrations, names_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse

logger = logging.getLogger(__name__)

CACHE_SECONDS = 1.0
#: How long a probe waits for the look that another one has under way.
PATIENCE_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseHealth:
    """What a probe is told of one database."""

    database: str
    reachable: bool
    #: None while it is not known.
    pending: int | None
    warnings: tuple[str, ...] = ()
    #: Why it is not ready, in a few words that name no host, user or migration.
    reason: str | None = None

    @property
    def is_ready(self) -> bool:
        return self.reason is None


@dataclass
class _Watch:
    """One database: the last look at it, and who may look."""

    looking: threading.Lock = field(default_factory=threading.Lock)
    seen: DatabaseHealth | None = None
    seen_at: float = 0.0


class HealthMonitor:
    """Looks at databases for many probes: one look at a time each, kept for a moment.

    So a database that hangs holds one thread of this process, however many probes come.
    """

    def __init__(self, patience: float = PATIENCE_SECONDS) -> None:
        self._migrations = KnownMigrations()
        self._watches: dict[str, _Watch] = {}
        self._patience = patience

    def look(self, using: str, keep_seconds: float) -> DatabaseHealth:
        """Return what was seen at most ``keep_seconds`` ago. Raises nothing."""
        watch = self._watches.setdefault(using, _Watch())
        asked_at = time.monotonic()
        if not watch.looking.acquire(timeout=self._patience):
            return _unknown(using, "an earlier check has no answer yet")
        try:
            # What another probe saw while this one waited for it is fresh enough, too.
            fresh = watch.seen_at >= min(asked_at, time.monotonic() - keep_seconds)
            if watch.seen is None or not fresh:
                seen, details = self._look(using)
                _log_change(watch.seen, seen, details)
                watch.seen, watch.seen_at = seen, time.monotonic()
            return watch.seen
        finally:
            watch.looking.release()

    def _look(self, using: str) -> tuple[DatabaseHealth, str]:
        if using not in connections.settings:
            return _unknown(using, "not in DATABASES"), "HODEI_HEALTH_DATABASES names it."
        try:
            found = self._migrations.check(connections[using])
        except ConnectionFailed as error:
            return _unknown(using, str(error.reason)), str(error)
        except SchemaError as error:
            return _unknown(using, "cannot be verified", reachable=True), str(error)
        except Error as error:
            words = " ".join(str(error).split())
            return _unknown(using, "cannot be read", reachable=True), words
        except Exception:
            logger.exception("health check failed database=%s", using)
            return _unknown(using, "the check failed"), "See the traceback above."
        health = DatabaseHealth(
            database=using,
            reachable=True,
            pending=len(found.pending),
            warnings=tuple(found.warnings()),
            reason=None if found.is_ready else "migrations are pending",
        )
        return health, names_of(found.pending)


def _unknown(using: str, reason: str, *, reachable: bool = False) -> DatabaseHealth:
    return DatabaseHealth(database=using, reachable=reachable, pending=None, reason=reason)


def _log_change(before: DatabaseHealth | None, now: DatabaseHealth, details: str) -> None:
    if now.reason is not None and (before is None or before.reason != now.reason):
        logger.warning("not ready database=%s reason=%s: %s", now.database, now.reason, details)
    elif now.reason is None and before is not None and before.reason is not None:
        logger.info("ready again database=%s", now.database)


monitor = HealthMonitor()


def document(databases: Sequence[DatabaseHealth]) -> dict[str, object]:
    """The JSON of ``ready``; docs/reference/health.md lists its keys."""
    return {
        "status": "ready" if all(health.is_ready for health in databases) else "not ready",
        "databases": [
            {
                "database": health.database,
                "reachable": health.reachable,
                "pending": health.pending,
                "reason": health.reason,
                "warnings": list(health.warnings),
            }
            for health in databases
        ],
    }


def _for_probes(view: Callable[[HttpRequest], HttpResponse]) -> Callable[..., HttpResponse]:
    """No login, no other method, and no transaction, which ATOMIC_REQUESTS would open first."""
    guarded = login_not_required(require_safe(view))
    for alias in connections.settings:
        guarded = transaction.non_atomic_requests(alias)(guarded)
    return guarded


def live(_request: HttpRequest) -> HttpResponse:
    """This process answers. Nothing else is asked."""
    return JsonResponse({"status": "alive"}, headers={"Cache-Control": "no-store"})


def ready(_request: HttpRequest) -> HttpResponse:
    """This process may serve (200), or not (503), and why not."""
    aliases = getattr(settings, "HODEI_HEALTH_DATABASES", None) or [DEFAULT_DB_ALIAS]
    keep = getattr(settings, "HODEI_HEALTH_CACHE_SECONDS", CACHE_SECONDS)
    databases = [monitor.look(alias, keep) for alias in aliases]
    return JsonResponse(
        document(databases),
        status=200 if all(health.is_ready for health in databases) else 503,
        headers={"Cache-Control": "no-store"},
    )


urlpatterns = [
    path("live", _for_probes(live), name="health-live"),
    path("ready", _for_probes(ready), name="health-ready"),
]
