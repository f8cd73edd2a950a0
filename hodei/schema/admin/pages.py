"""The pages: status, drift, history and one run, of the database that the address names."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.template.response import TemplateResponse
from django.urls import path
from django.views.decorators.http import require_http_methods, require_safe

from hodei.schema import browsing
from hodei.schema.admin import asked
from hodei.schema.admin.status import status_page
from hodei.schema.admin.trouble import trouble_of
from hodei.schema.connection import check_connection
from hodei.schema.history import read_runs
from hodei.schema.models import MigrationRun
from hodei.schema.status import read_status

if TYPE_CHECKING:  # the stubs' class is generic, Django's is not
    from django.db.models import Model
    from django.http import HttpRequest, HttpResponse, QueryDict
    from django.urls import URLPattern

    _ModelAdmin = admin.ModelAdmin[MigrationRun]
else:
    _ModelAdmin = admin.ModelAdmin

logger = logging.getLogger(__name__)

#: What a page shows beside what all of them do; it may raise whatever ``trouble_of`` explains.
Tell = Callable[[str], dict[str, Any]]

SPANS = ("1h", "24h", "7d", "30d")


@admin.register(MigrationRun)
class MigrationRunAdmin(_ModelAdmin):
    """The schema, to look at, for whoever may view migration runs."""

    def get_urls(self) -> list[URLPattern]:
        """The four pages. The list of the model is its history; there is none that changes it."""
        return [
            self._page("", require_safe(self.changelist_view), "changelist"),
            self._page("status/", require_safe(self.status_view), "status"),
            self._page(
                "drift/", require_http_methods(["GET", "HEAD", "POST"])(self.drift_view), "drift"
            ),
            self._page("<path:object_id>/change/", require_safe(self.change_view), "change"),
        ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody adds runs here."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody edits runs here."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody deletes runs here."""
        return False

    def status_view(self, request: HttpRequest) -> HttpResponse:
        """Every migration and its state, what is wrong first."""
        wanted = asked.status_of(request.GET)

        def tell(database: str) -> dict[str, Any]:
            check_connection(database)
            status = read_status(database)
            asked.require_app(wanted.app, status.app_labels)
            running = browsing.read_page(database, browsing.Wanted(outcome="running"), size=1)
            return {"status": status_page(status, wanted), "running": running.runs}

        return self._answer(request, "status", request.GET, tell, asked=wanted)

    def drift_view(self, request: HttpRequest) -> HttpResponse:
        """The form; and, for a POST, what a comparison finds."""

        def tell(database: str) -> dict[str, Any]:
            if request.method != "POST":
                return {}
            # What compares is a tenth of the start of every command, which none but these need.
            from hodei.schema.admin import drift  # noqa: PLC0415

            started, began_at = time.monotonic(), datetime.now(UTC)
            found = drift.compare(database)
            duration_ms = round(1000 * (time.monotonic() - started))
            logger.info(
                "drift looked for database=%s user=%s valid=%s findings=%s duration_ms=%s",
                *(database, request.user.get_username(), found.is_valid, len(found.findings)),
                duration_ms,
            )
            return {
                "validation": found,
                "groups": drift.groups(found.findings),
                "is_long": len(found.findings) > 20,
                "began_at": began_at,
                "duration_ms": duration_ms,
            }

        query = request.POST if request.method == "POST" else request.GET
        return self._answer(request, "drift", query, tell)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The history, newest first, page by page."""

        def tell(database: str) -> dict[str, Any]:
            wanted = asked.runs_of(request.GET, datetime.now(UTC))
            check_connection(database)
            apps = browsing.read_apps(database)
            if apps:
                asked.require_app(wanted.app, apps)
            page = browsing.read_page(database, wanted)
            is_narrowed = any(request.GET.get(name) for name in ("app", "outcome", "since"))
            return {
                "page": page,
                "labels": apps,
                "is_narrowed": is_narrowed,
                "is_newest": wanted.before is None and page.newer is None,
                "newest": _address(request.GET),
                "older": page.older and _address(request.GET, before=page.older),
                "newer": page.newer and _address(request.GET, after=page.newer),
            }

        return self._answer(
            request,
            "history",
            request.GET,
            tell,
            outcomes=browsing.OUTCOMES,
            spans=SPANS,
            cut=browsing.CUT,
        )

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """One run whole, and what belongs to it."""

        def tell(database: str) -> dict[str, Any]:
            number = asked.run_number(object_id, database)
            check_connection(database)
            found = read_runs(database, run=number)
            if not found:
                raise asked.no_such_run(object_id, database)
            return {"run": found[0], "related": browsing.read_related(database, found[0])}

        return self._answer(request, "run", request.GET, tell)

    def _page(self, route: str, view: Callable[..., HttpResponse], name: str) -> URLPattern:
        """For staff; and without a transaction of the request, so that a database that cannot be
        reached is something to tell of, and not the end of the page."""
        guarded = self.admin_site.admin_view(view)
        for alias in connections.settings:
            guarded = transaction.non_atomic_requests(alias)(guarded)
        opts = self.opts
        return path(route, guarded, name=f"{opts.app_label}_{opts.model_name}_{name}")

    def _answer(
        self, request: HttpRequest, name: str, query: QueryDict, tell: Tell, **more: Any
    ) -> HttpResponse:
        """The page, with what there is to tell of the database, or with why there is nothing."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        database = query.get("database") or DEFAULT_DB_ALIAS
        told: dict[str, Any] = {}
        try:
            asked.database_of(query)
            told = tell(database)
        except Exception as error:  # noqa: BLE001  (a migration's own module may raise anything)
            told = {"trouble": trouble_of(error, database)}
        request.current_app = self.admin_site.name
        return TemplateResponse(
            request,
            f"hodei_schema/admin/{name}.html",
            {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "tab": name,
                "query": query,
                "database": database,
                "databases": list(connections.settings),
                "suffix": "" if database == DEFAULT_DB_ALIAS else _address(database=database),
                **more,
                **told,
            },
            status=told["trouble"].status if "trouble" in told else 200,
        )


def _address(query: QueryDict | None = None, **changes: object) -> str:
    """The same filter from another place on."""
    kept = {
        name: query[name]
        for name in ("database", "app", "outcome", "since")
        if query and query.get(name)
    }
    return f"?{urlencode({**kept, **changes})}"
