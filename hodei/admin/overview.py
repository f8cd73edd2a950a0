"""The two pages of the whole: what goes on, and what waits for a person.

    path("admin/", include("hodei.admin.urls"))     before admin.site.urls

They are of no app: what they show is what the installed apps have registered with ``parts``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.views.decorators.http import require_safe

from hodei.admin.charts import draw
from hodei.admin.parts import Found, Kind, Viewer
from hodei.admin.rendering import ago, moment

#: Seconds from one look to the next.
EVERY = 10


def pages(site: AdminSite) -> list[URLPattern]:
    """The pages for this site, for people who may view anything that they show."""
    return [
        path("overview/", _page(site, overview), name="hodei-overview"),
        path("incidents/", _page(site, incidents), name="hodei-incidents"),
    ]


def overview(viewer: Viewer) -> HttpResponse:
    """What goes on. With ``?figures``, without the page around it: for the script that looks again,
    which must not take the messages that wait for the next page."""
    context = {
        "panels": [
            (panel, [draw(chart) for chart in panel.charts])
            for panel in viewer.panels()
            if panel.figures or panel.charts or panel.trouble
        ],
        "taken": moment(timezone.now()),
    }
    if "figures" in viewer.request.GET:
        return TemplateResponse(viewer.request, "hodei/admin/figures.html", context)
    return _answer(viewer, "overview", "Overview", {**context, "every": EVERY})


def incidents(viewer: Viewer) -> HttpResponse:
    """What waits for a person, by kind."""
    found = viewer.incidents()
    waiting = [_told(kind, one) for kind, one in found if isinstance(one, Found) and one.number]
    unread = [(kind, one) for kind, one in found if isinstance(one, str)]
    context = {"waiting": waiting, "unread": unread, "asked": [kind.title for kind, _ in found]}
    return _answer(viewer, "incidents", "Incidents", context)


def _told(kind: Kind, found: Found) -> dict[str, Any]:
    return {
        "kind": kind,
        "found": found,
        "slug": kind.title.lower().replace(" ", "-"),
        "cases": [(case, ago(case.since)) for case in found.cases],
    }


def _answer(viewer: Viewer, tab: str, title: str, context: dict[str, Any]) -> HttpResponse:
    viewer.request.current_app = viewer.site.name
    return TemplateResponse(
        viewer.request,
        f"hodei/admin/{tab}.html",
        {**viewer.site.each_context(viewer.request), "title": title, "tab": tab, **context},
    )


def _page(site: AdminSite, show: Callable[[Viewer], HttpResponse]) -> Callable[..., HttpResponse]:
    def view(request: HttpRequest) -> HttpResponse:
        viewer = Viewer(request, site)
        if not viewer.may_view_any():
            raise PermissionDenied
        return show(viewer)

    return site.admin_view(require_safe(view))
