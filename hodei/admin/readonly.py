"""The base class of the apps' admins: look at everything, change nothing.

What changes rows are services; an admin that offers one adds its action, not these permissions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ValidationError
from django.db.models import JSONField, Model, Q, QuerySet
from django.db.models.functions import Left
from django.http import HttpRequest, HttpResponse
from django.utils.text import capfirst

from hodei.admin.listing import BoundedChangeList, CappedPaginator, exact_match
from hodei.admin.rendering import (
    Tones,
    ago,
    badge,
    code,
    first_line,
    json_columns,
    json_of,
    link,
    text_block,
    when,
)

if TYPE_CHECKING:  # the stubs' class is generic, Django's is not
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin


class ReadOnlyAdmin(_ModelAdmin):
    """A window on one table. Subclasses name what is shown; queries per page do not grow with rows.

    ``search_fields`` are matched exactly (see ``exact_match``), ``sortable_by`` names columns whose
    order an index gives, ``linked_lookups`` are the fields that links from other pages filter by,
    ``list_cut`` names long texts of which a list shows the first line, ``panels`` the permission
    that a fieldset needs, by its title. ``explanation`` says over a list what its
    rows are.
    """

    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    list_max_show_all = 0
    list_select_related: ClassVar[bool | list[str] | tuple[str, ...]] = ()
    sortable_by: ClassVar[list[str] | tuple[str, ...]] = ()
    search_help_text = "Exact ids only."
    actions_on_top = True
    linked_lookups: ClassVar[Sequence[str]] = ()
    list_cut: ClassVar[Sequence[str]] = ()
    panels: ClassVar[Mapping[str, str]] = {}
    explanation: ClassVar[str] = ""
    change_list_template = "hodei/admin/list.html"

    class Media:
        css = {"all": ["hodei/admin.css"]}

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody adds rows here."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody edits rows here."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody deletes rows here, neither one by one nor by Django's bulk action."""
        return False

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Whoever may view; the right to change, which is never used here, gives no view."""
        opts = self.opts
        return request.user.has_perm(f"{opts.app_label}.view_{opts.model_name}")

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """Only what filters and links use: any other lookup can be slow, or guess at a secret."""
        if any("\0" in text for text in value):  # PostgreSQL has no such text to compare with
            return False
        name, _, rest = lookup.partition("__")
        known = set(self.linked_lookups)
        for entry in self.get_list_filter(request):
            if isinstance(entry, str):
                known.add(entry)
            elif parameter := getattr(entry, "parameter_name", None):
                known.add(parameter)
        return lookup in known or (name in known and rest in {"exact", "isnull", "id__exact"})

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list, under the name of what it lists."""
        title = capfirst(self.opts.verbose_name_plural)
        return super().changelist_view(request, {"title": title, **(extra_context or {})})

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """The list that sorts and counts within bounds."""
        return BoundedChangeList

    def get_list_queryset(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """The rows of a list: JSON stays in the database, of long text comes the start."""
        starts = {f"{name}_start": Left(name, 400) for name in self.list_cut}
        shown: QuerySet[Any] = rows.defer(*self._json_names(), *self.list_cut).annotate(**starts)
        return shown

    def get_detail_queryset(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """The one row of a page: JSON comes as text, for ``json_of``."""
        names = self._json_names()
        shown: QuerySet[Any] = rows.defer(*names).annotate(**json_columns(names))
        return shown

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any | None:
        """The row of a page by its primary key, or None."""
        rows = self.get_detail_queryset(self.get_queryset(request))
        field: Any = self.opts.get_field(from_field) if from_field else self.opts.pk
        try:
            return rows.get(**{field.name: field.to_python(object_id)})
        except (self.model.DoesNotExist, ValidationError, ValueError):
            return None

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Rows that have exactly this id, key or name."""
        term = search_term.strip()
        if not term:
            return queryset, False
        return queryset.filter(self.get_search_condition(queryset, term)), False

    def get_search_condition(self, rows: QuerySet[Any], term: str) -> Q:
        """Any of ``search_fields`` is the term."""
        found = [exact_match(rows, field, term) for field in self.get_search_fields_of_model()]
        return reduce(or_, filter(None, found), Q(pk__in=[]))

    def get_search_fields_of_model(self) -> Sequence[str]:
        """The search fields, as ``exact_match`` reads them."""
        return [str(field) for field in self.search_fields]

    def get_fieldsets(self, request: HttpRequest, obj: Any | None = None) -> Any:
        """The declared fieldsets, without the panels of what this person may not view."""
        return [
            (title, {"classes": ("hodei-facts",), **options})
            for title, options in self.fieldsets or ()
            if request.user.has_perms(filter(None, [self.panels.get(str(title or ""))]))
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any | None = None) -> Any:
        """Everything that is shown."""
        return flatten_fieldsets(self.fieldsets or ())

    def _json_names(self) -> list[str]:
        return [field.name for field in self.opts.concrete_fields if isinstance(field, JSONField)]


Display = Callable[[Any, Any], str]


def _display(show: Callable[[Any], str], description: str, order: str | None = None) -> Display:
    @admin.display(description=description, ordering=order)
    def method(_admin: Any, row: Any) -> str:
        return show(row)

    return method


def show_json(name: str, description: str) -> Display:
    """A JSON column of a page, pretty and redacted."""
    return _display(lambda row: json_of(row, name), description)


def show_text(name: str, description: str) -> Display:
    """A long text of a page."""
    return _display(lambda row: text_block(getattr(row, name)), description)


def show_first_line(name: str, description: str) -> Display:
    """The first line of a text of a list, which is in ``list_cut``."""
    return _display(lambda row: first_line(getattr(row, f"{name}_start")), description)


def show_code(name: str, description: str, *, short: bool = False) -> Display:
    """An identifier."""
    return _display(lambda row: code(getattr(row, name), short=short), description)


def show_age(name: str, description: str) -> Display:
    """A timestamp of a list, as its age."""
    return _display(lambda row: ago(getattr(row, name)), description, name)


def show_when(name: str, description: str) -> Display:
    """A timestamp of a page, with its age."""

    def show(row: Any) -> str:
        at: datetime | None = getattr(row, name)
        return when(at)

    return _display(show, description)


def show_state(name: str, description: str, tones: Tones) -> Display:
    """A state, coloured."""
    return _display(lambda row: badge(getattr(row, name), tones), description)


def show_link(name: str, description: str, view: str, *, short: bool = False) -> Display:
    """An id that has a page of its own, which may be gone; ``short`` for lists."""

    def show(row: Any) -> str:
        key = getattr(row, name)
        return link(view, key, code(key, short=short))

    return _display(show, description)
