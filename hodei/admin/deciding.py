"""The base class of admins that offer decisions: on a list for many rows, on a page for one.

Whichever way it is asked for, a page shows the rows, says which of them it can be done with, and
asks for a reason; only that page's form does anything. ``sweeping`` has the page for all rows that
match the filter of a list, however many they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import connections, transaction
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_http_methods

from hodei.admin import sweeping
from hodei.admin.actions import MOST_AT_ONCE, Action, DecisionForm, Judge, Outcome, carry_out
from hodei.admin.readonly import ReadOnlyAdmin
from hodei.admin.rendering import beside, button, link, page_of
from hodei.redaction import redact_text

#: Refusals that are told one by one.
TOLD = 10


@dataclass(frozen=True, slots=True)
class Offers:
    """What this person may decide about a row as it is now."""

    view: str
    row: Model
    permitted: Sequence[Action]
    judge: Judge

    def of(self, part: str | None = None) -> list[tuple[Action, str]]:
        """The actions, and the addresses that ask for a reason."""
        return [
            (action, self._address(action, part))
            for action in self.permitted
            if (action.part is None) is (part is None)
            and self.judge(action, self.row, part) is None
        ]

    def links(self, part: str | None = None) -> str:
        """The same, as a cell of a table."""
        return beside(button(address, action.label) for action, address in self.of(part))

    def _address(self, action: Action, part: str | None) -> str:
        query = {"id": self.row.pk, **({"part": part} if part is not None else {})}
        return f"{reverse(self.view, args=(action.name,))}?{urlencode(query)}"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a decision is about, as an address or a form has it."""

    keys: Sequence[str]
    part: str | None
    #: The query of the list from which it was asked for; None: from a page.
    back: str | None
    #: Whether it is about all that this query finds.
    is_about_all: bool = False

    @classmethod
    def read(cls, query: Any) -> Asked:
        """From the parameters of a request."""
        return cls(query.getlist("id"), query.get("part"), query.get("back"), "all" in query)


class DecidingAdmin(ReadOnlyAdmin):
    """A window on one table whose rows somebody may decide about.

    Subclasses name the ``decisions``, say in ``judge`` what stands against each, and give in
    ``state_cell`` the method that shows the state of a row.
    """

    decisions: ClassVar[Sequence[Action]] = ()
    state_cell: ClassVar[str] = ""
    change_form_template = "hodei/admin/page.html"

    def __init__(self, model: type[Model], admin_site: Any) -> None:
        super().__init__(model, admin_site)
        self.actions = [_list_action(action) for action in self.decisions if action.many]

    def judge(self, rows: Sequence[Any], using: str) -> Judge:
        """What stands against an action, for these rows; the number of queries does not grow with
        them."""
        raise NotImplementedError("An admin with decisions defines judge().")

    def title_of(self, row: Any) -> str:
        """What a row is called on the page that asks."""
        return str(row)

    def get_urls(self) -> list[URLPattern]:
        """Beside the list and the pages, the page that asks."""
        view: Any = require_http_methods(["GET", "HEAD", "POST"])(self.decision_view)
        # Each row is a transaction of its own, whatever ATOMIC_REQUESTS says.
        for alias in connections:
            view = transaction.non_atomic_requests(using=alias)(view)
        return [
            path("decide/<slug:name>/", self.admin_site.admin_view(view), name=self._view_name()),
            *super().get_urls(),
        ]

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> dict[str, Any]:
        """What this person may do with a selection."""
        allowed = {action.name for action in self.permitted(request)}
        # Django says where from 6.1 on.
        where = {} if action_location is None else {"action_location": action_location}
        found = super().get_actions(request, **where)
        return {name: value for name, value in found.items() if name in allowed}

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list, with what can be decided about all that match its filter."""
        back = request.GET.urlencode()
        sweeps = [
            (action, f"{self._decision_address(action)}?{urlencode({'all': 1, 'back': back})}")
            for action in self.permitted(request)
            if action.among is not None
        ]
        return super().changelist_view(request, {"sweeps": sweeps, **(extra_context or {})})

    def permitted(self, request: HttpRequest) -> list[Action]:
        """The decisions for which this person has the permission."""
        return [action for action in self.decisions if request.user.has_perm(action.permission)]

    def offers(self, request: HttpRequest, row: Any) -> Offers:
        """What this person may decide about the row."""
        permitted = self.permitted(request)
        judge = self.judge([row] if permitted else [], self._using(request))
        return Offers(f"admin:{self._view_name()}", row, permitted, judge)

    def render_change_form(  # noqa: PLR0917  (Django's)
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,  # noqa: FBT001, FBT002
        change: bool = False,  # noqa: FBT001, FBT002
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        """The page of a row, with what can be decided about it."""
        if obj is not None:
            obj.offers = self.offers(request, obj)
            context["offered"] = obj.offers.of()
        return super().render_change_form(request, context, add, change, form_url, obj)

    def decision_view(self, request: HttpRequest, name: str) -> HttpResponse:
        """Ask for a reason, or do it with the one that was given."""
        action = next((one for one in self.decisions if one.name == name), None)
        if action is None:
            raise Http404(f"Nothing is called {name!r} here.")
        if not self.has_view_permission(request) or action not in self.permitted(request):
            raise PermissionDenied
        asked = Asked.read(request.POST if request.method == "POST" else request.GET)
        if (action.part is None) is not (asked.part is None):
            raise Http404(f"{name} is about {action.part or 'a whole row'}.")
        if asked.is_about_all:
            return self._sweep(request, action, asked.back or "")
        rows = self._rows(request, asked.keys)
        if not rows:
            messages.error(request, f"There is no such {self.opts.verbose_name} any more.")
            return HttpResponseRedirect(self._list_address(asked.back))
        if request.method != "POST":
            return self._ask(request, action, asked, rows, DecisionForm(action))
        form = DecisionForm(action, request.POST)
        if not form.is_valid():
            return self._ask(request, action, asked, rows, form)
        values = form.values()
        if action.part is not None:
            values[action.part] = asked.part
        outcome = carry_out(request, action, rows, values, using=self._using(request))
        self._tell(request, action, rows, outcome)
        return HttpResponseRedirect(self._address_back(request, asked))

    def ask_about(
        self, request: HttpRequest, action: Action, selected: QuerySet[Any]
    ) -> HttpResponse | None:
        """The page that asks about a selection of a list, or about all that match its filter if
        the selection is too large for it; None, and a message, where that is not possible."""
        keys = list(selected.values_list("pk", flat=True)[: MOST_AT_ONCE + 1])
        if len(keys) > MOST_AT_ONCE:
            if action.among is not None:
                address = {"all": "1", "back": request.GET.urlencode()}
                return HttpResponseRedirect(
                    f"{self._decision_address(action)}?{urlencode(address)}"
                )
            messages.error(
                request,
                f"More than {MOST_AT_ONCE} {self.opts.verbose_name_plural} are selected, and a "
                "decision here is about so many at most. Narrow the filter, or use a command. "
                "Nothing was changed.",
            )
            return None
        texts = [str(key) for key in keys]
        asked = Asked(texts, None, request.GET.urlencode())
        rows = self._rows(request, texts)
        return self._ask(request, action, asked, rows, DecisionForm(action))

    def _sweep(self, request: HttpRequest, action: Action, back: str) -> HttpResponse:
        if action.among is None:
            raise Http404(f"{action.name} is not about all that match a filter.")
        found = sweeping.matching(self, request, back)
        if found is None:
            messages.error(request, "The list has no such filter. Nothing was changed.")
            return HttpResponseRedirect(self._list_address(None))
        rows = action.among(found.queryset)
        sweep = sweeping.Sweep(self, action, found, rows, self._using(request))
        end = sweep.carry_on(request) if request.method == "POST" else None
        if end is None:
            return sweep.page(
                request,
                address=self._decision_address(action),
                back=self._list_address(back),
                query=back,
            )
        for is_good, said in end:
            (messages.success if is_good else messages.error)(request, said)
        return HttpResponseRedirect(self._list_address(back))

    def _rows(self, request: HttpRequest, keys: Sequence[str]) -> list[Any]:
        """The rows of these keys that are there, in the keys' order."""
        wanted = []
        for key in keys[:MOST_AT_ONCE]:
            try:
                wanted.append(self.opts.pk.to_python(key))
            except ValidationError:
                continue
        found = self.get_list_queryset(self.get_queryset(request)).filter(pk__in=wanted)
        by_key = {row.pk: row for row in found}
        return [by_key[key] for key in dict.fromkeys(wanted) if key in by_key]

    def _ask(
        self,
        request: HttpRequest,
        action: Action,
        asked: Asked,
        rows: Sequence[Any],
        form: DecisionForm,
    ) -> HttpResponse:
        judge = self.judge(rows, self._using(request))
        why = [judge(action, row, asked.part) for row in rows]
        state = getattr(self, self.state_cell)
        possible = sum(reason is None for reason in why)
        request.current_app = self.admin_site.name
        return TemplateResponse(
            request,
            "hodei/admin/decide.html",
            {
                **self.admin_site.each_context(request),
                "title": self._question(action, rows, possible, asked.part),
                "opts": self.opts,
                "media": self.media,
                "action": action,
                "asked": asked,
                "address": self._decision_address(action),
                "back": self._address_back(request, asked),
                "form": form,
                "possible": possible,
                "rows": [
                    (row.pk, self._link_to(row), state(row), reason and redact_text(reason))
                    for row, reason in zip(rows, why, strict=True)
                ],
            },
        )

    def _question(
        self, action: Action, rows: Sequence[Any], possible: int, part: str | None
    ) -> str:
        if len(rows) == 1:
            of = f"{part} of " if part else ""
            return f"{action.label}: {of}{self.opts.verbose_name} {self.title_of(rows[0])}"
        return f"{action.label}: {possible} of {len(rows)} {self.opts.verbose_name_plural}"

    def _using(self, request: HttpRequest) -> str:
        return self.get_queryset(request).db

    def _link_to(self, row: Any) -> str:
        return link(f"{self.opts.app_label}_{self.opts.model_name}", row.pk, self.title_of(row))

    def _tell(
        self, request: HttpRequest, action: Action, rows: Sequence[Any], outcome: Outcome
    ) -> None:
        if len(rows) == 1:
            for said in outcome.done:
                messages.success(request, said)
        elif outcome.done:
            count = f"{len(outcome.done)} of {len(rows)}" if outcome.refused else f"{len(rows)}"
            message = f"{count} {self.opts.verbose_name_plural} {action.done}."
            messages.success(request, message)
        for refusal in outcome.refused[:TOLD]:
            messages.error(request, redact_text(refusal))
        if len(outcome.refused) > TOLD:
            messages.error(request, f"So it was with {len(outcome.refused) - TOLD} more.")

    def _address_back(self, request: HttpRequest, asked: Asked) -> str:
        if asked.back is None and self._rows(request, asked.keys[:1]):
            return str(page_of(f"{self.opts.app_label}_{self.opts.model_name}", asked.keys[0]))
        return self._list_address(asked.back)

    def _list_address(self, query: str | None) -> str:
        address = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")
        return f"{address}?{query}" if query else address

    def _decision_address(self, action: Action) -> str:
        return reverse(f"admin:{self._view_name()}", args=(action.name,))

    def _view_name(self) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_decide"


def _list_action(action: Action) -> Any:
    """The action as Django's lists have it."""

    def ask(
        model_admin: DecidingAdmin, request: HttpRequest, selected: QuerySet[Any]
    ) -> HttpResponse | None:
        return model_admin.ask_about(request, action, selected)

    ask.__name__ = action.name
    return admin.action(description=action.label)(ask)
