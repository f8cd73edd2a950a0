"""What an app tells on the overview and among the incidents, and how it says so.

An app registers one ``Part`` from the module ``overview`` of its admin. What is told of a model is
shown to whoever may view the model's list, and is not even asked for anybody else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.apps import apps
from django.contrib.admin import AdminSite
from django.core.exceptions import ImproperlyConfigured
from django.db import Error, connections, router, transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from hodei.admin.listing import COUNT_LIMIT
from hodei.minutes import Minute
from hodei.redaction import redact_text

#: Cases of one kind that a page shows.
SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number, and the list that it is of.

    ``model`` is its label, ``jobs.Job``; ``view`` another page of its admin than the list. ``tone``
    is what the number asks of a person, as in ``rendering.Tones``.
    """

    label: str
    value: str
    model: str
    query: Mapping[str, object] = field(default_factory=dict)
    view: str = "changelist"
    tone: str = "quiet"
    remark: str = ""

    @property
    def address(self) -> str | None:
        return address_of(self.model, self.view, self.query)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """What happened in each minute of the last hour. ``series`` has the tone of each kind."""

    title: str
    model: str
    series: Mapping[str, str]
    minutes: Sequence[Minute]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """What the overview shows of one app."""

    title: str
    figures: Sequence[Figure] = ()
    charts: Sequence[Chart] = ()
    #: Why there is nothing else.
    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Something that waits for a person."""

    name: str
    address: str | None
    why: str
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The first cases of a kind, at most SHOWN, and how many there are; counting stops at ``most``,
    where it is not COUNT_LIMIT."""

    cases: Sequence[Case]
    number: int
    most: int | None = None

    @property
    def more(self) -> str:
        """How many are not shown, as words; empty: none."""
        left = self.number - len(self.cases)
        if left <= 0:
            return ""
        most = COUNT_LIMIT if self.most is None else self.most
        return f"{left:,}{'+' if self.number >= most else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of incident: what it is called, what one does about it, and where all of it is."""

    title: str
    advice: str
    model: str
    read: Callable[[], Found]
    query: Mapping[str, object] = field(default_factory=dict)
    view: str = "changelist"
    tone: str = "bad"

    @property
    def address(self) -> str | None:
        return address_of(self.model, self.view, self.query)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one app has to tell. ``models`` are the labels of what its figures are of, the first of
    which names the database that is asked; ``place`` is where it stands."""

    app: str
    title: str
    place: int
    models: Sequence[str]
    panel: Callable[[], Panel]
    kinds: Sequence[Kind] = ()


_parts: dict[str, Part] = {}


def register(part: Part) -> None:
    """Have it on the pages. Once more replaces it."""
    _parts[part.app] = part


def parts() -> list[Part]:
    """Those of the installed apps, in their places."""
    found = (part for part in _parts.values() if apps.is_installed(part.app))
    return sorted(found, key=lambda part: (part.place, part.app))


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks, and at which site."""

    request: HttpRequest
    site: AdminSite

    def may_view(self, label: str) -> bool:
        """Whether the list of the model is there, and for this person."""
        model: Any = apps.get_model(label)
        if not self.site.is_registered(model):
            return False
        return bool(self.site.get_model_admin(model).has_view_permission(self.request))

    def panels(self) -> list[Panel]:
        """What this person may see of each app; an app of which it is nothing is not asked."""
        panels = []
        for part in parts():
            if any(self.may_view(label) for label in part.models):
                panel = asked(part.panel, part.models[0])
                if isinstance(panel, str):
                    panels.append(Panel(title=part.title, trouble=panel))
                else:
                    panels.append(self._narrowed(panel))
        return panels

    def incidents(self) -> list[tuple[Kind, Found | str]]:
        """What waits for a person, by kind; text where that could not be read."""
        return [(kind, asked(kind.read, kind.model)) for kind in self._kinds()]

    def may_view_any(self) -> bool:
        """Whether there is anything for this person."""
        return any(self.may_view(label) for part in parts() for label in part.models)

    def _kinds(self) -> Iterator[Kind]:
        for part in parts():
            yield from (kind for kind in part.kinds if self.may_view(kind.model))

    def _narrowed(self, panel: Panel) -> Panel:
        return Panel(
            title=panel.title,
            figures=[one for one in panel.figures if self.may_view(one.model)],
            charts=[one for one in panel.charts if self.may_view(one.model)],
        )


def asked(read: Callable[[], Any], label: str) -> Any:
    """What it answers; or, as text, why it cannot: the rest of the page is told all the same."""
    connection = connections[using_of(label)]
    # What fails inside a transaction of the request must not spoil it.
    guard = (
        transaction.atomic(using=connection.alias) if connection.in_atomic_block else nullcontext()
    )
    try:
        with guard:
            return read()
    except Error as error:
        line = redact_text(str(error)).strip().partition("\n")[0]
        return f"It could not be read: {line}"
    except ImproperlyConfigured as error:
        return f"It could not be read: {redact_text(str(error))}"


def using_of(label: str) -> str:
    """The database that the admin reads the model from."""
    model: Any = apps.get_model(label)
    return router.db_for_read(model) or "default"


def address_of(label: str, view: str, query: Mapping[str, object] | None = None) -> str | None:
    """Address of a page of the model's admin; None if it has none."""
    name = label.lower().replace(".", "_")
    try:
        address = reverse(f"admin:{name}_{view}")
    except NoReverseMatch:
        return None
    return f"{address}?{urlencode(query)}" if query else address


def capped(number: int, most: int) -> str:
    """A count that stops at ``most``, as words."""
    return f"{number:,}{'+' if number >= most else ''}"


def count_of(rows: QuerySet[Any]) -> int:
    """How many there are, up to COUNT_LIMIT."""
    return rows.order_by().values("pk")[:COUNT_LIMIT].count()
