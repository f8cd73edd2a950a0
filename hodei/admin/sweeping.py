"""A decision about all rows that match the filter of a list, however many they are.

A request does as many as it can within a bound of time, each portion in a transaction of its own,
and says how many remain; its form goes on from there. What is done is told by the keys: each row is
met once, in the order of its key, so nothing that has come back meanwhile is done again.
"""

from __future__ import annotations

import copy
import math
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django import forms
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ValidationError
from django.db import DatabaseError, connections, transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.template.response import TemplateResponse

from hodei.admin.actions import Action, DecisionForm, PerformMany, actor_of, log, not_done
from hodei.admin.listing import COUNT_LIMIT
from hodei.compat import uuid7
from hodei.redaction import redact_text

#: Seconds after which a request begins no further portion, and rows that it looks at.
LONGEST, MOST_PER_REQUEST = 10.0, 5_000
#: Rows of one transaction, where a service does many at once; rows between two looks at the clock,
#: where each is a transaction of its own.
PORTION, SINGLES = 500, 25
#: Rows a second that may be asked for.
MOST_PER_SECOND = 10_000
#: Refusals that are told one by one, and rows that somebody can have been told were done.
TOLD, MOST_DONE = 10, 10**12
#: How long a portion waits for a row that somebody else has locked.
LOCK_TIMEOUT = "5s"


class SweepForm(DecisionForm):
    """Beside the reason, how fast."""

    rate = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=MOST_PER_SECOND,
        label="At most, a second",
        help_text="Spares what it sets going. Empty: as fast as it goes.",
    )

    def __init__(self, action: Action, data: Any = None) -> None:
        super().__init__(action, data)
        self.order_fields([*action.fields, "rate", "reason"])


@dataclass(slots=True)
class Progress:
    """How far it came."""

    batch: uuid.UUID
    #: The key behind which it goes on.
    after: Any = None
    done: int = 0
    refused: int = 0
    #: Of the newest request.
    refusals: list[str] = field(default_factory=list)
    #: Why it ended before its time.
    broken: str | None = None

    @property
    def has_begun(self) -> bool:
        return self.after is not None or self.broken is not None


class Counted(int):
    """A number of rows, counted up to COUNT_LIMIT."""

    def __str__(self) -> str:
        return f"more than {COUNT_LIMIT:,}" if self > COUNT_LIMIT else f"{int(self):,}"


def counted(rows: QuerySet[Any]) -> Counted:
    """How many there are; a million is not counted to its end."""
    return Counted(rows.order_by().values("pk")[: COUNT_LIMIT + 1].count())


def matching(model_admin: Any, request: HttpRequest, query: str) -> ChangeList | None:
    """The list as this query of it has it; None where it is no query of it."""
    asked = copy.copy(request)
    given = QueryDict(query, mutable=True)
    given.pop("p", None)  # what was done leaves the filter, and the list has fewer pages
    asked.GET = given  # type: ignore[assignment]
    try:
        found: ChangeList = model_admin.get_changelist_instance(asked)
    except IncorrectLookupParameters:
        return None
    return found


def conditions(found: ChangeList) -> list[str]:
    """The filter in words."""
    words = []
    known = set()
    for spec in found.filter_specs:
        known.update(spec.expected_parameters())
        chosen = [one["display"] for one in list(spec.choices(found))[1:] if one["selected"]]
        words += [f"{spec.title}: {', '.join(map(str, chosen))}"] if chosen else []
    for name, values in found.get_filters_params().items():
        if name not in known:
            words.append(f"{name.replace('_', ' ')}: {', '.join(map(str, values))}")
    return words + ([f"search: {found.query}"] if found.query else [])


class Sweep:
    """One action with all rows of a list that it can be done with."""

    def __init__(
        self,
        model_admin: Any,
        action: Action,
        found: ChangeList,
        rows: QuerySet[Any],
        using: str,
    ) -> None:
        self.admin = model_admin
        self.action = action
        self.found = found
        self.using = using
        self.rows = rows
        self.form = SweepForm(action)
        self.progress = Progress(uuid7())

    def carry_on(self, request: HttpRequest) -> list[tuple[bool, str]] | None:
        """Do as many as one request may. Returns what there is to tell once nothing remains, and
        whether it is good; None while there is something to ask."""
        self.form = SweepForm(self.action, request.POST)
        self.progress = self._read(request.POST)
        if not self.form.is_valid():
            return None
        values = self.form.values()
        self._run(request, values.pop("rate"), values)
        if self.progress.broken or self._left().exists():
            return None
        return self._end()

    def page(self, request: HttpRequest, *, address: str, back: str, query: str) -> HttpResponse:
        """What it is about, how far it came, and the form that begins it or goes on."""
        left, opts = counted(self._left()), self.admin.opts
        count = f"{left} {opts.verbose_name if left == 1 else opts.verbose_name_plural}"
        request.current_app = self.admin.admin_site.name
        return TemplateResponse(
            request,
            "hodei/admin/sweep.html",
            {
                **self.admin.admin_site.each_context(request),
                "title": f"{self.action.label}: {count}",
                "opts": opts,
                "media": self.admin.media,
                "action": self.action,
                "address": address,
                "back": back,
                "query": query,
                "form": self.form,
                "possible": left,
                "count": count,
                "matching": Counted(self.found.result_count),
                "conditions": conditions(self.found),
                "progress": self.progress,
                "has_batch": self.action.perform_many is not None,
                "refusals": [redact_text(one) for one in self.progress.refusals[:TOLD]],
                "seconds": int(LONGEST),
            },
        )

    def _read(self, given: Any) -> Progress:
        """From the form. Whoever changes it there is told wrong numbers, and nothing worse."""
        try:
            batch = uuid.UUID(given.get("batch", ""))
        except ValueError:
            return Progress(uuid7())
        after = given.get("after") or None
        try:
            after = None if after is None else self.admin.opts.pk.to_python(after)
        except ValidationError:
            return Progress(uuid7())
        return Progress(batch, after, _number(given.get("done")), _number(given.get("refused")))

    def _left(self) -> QuerySet[Any]:
        after = self.progress.after
        return self.rows if after is None else self.rows.filter(pk__gt=after)

    def _run(self, request: HttpRequest, rate: int | None, values: dict[str, Any]) -> None:
        started = time.monotonic()
        many = self.action.perform_many
        most, portion = MOST_PER_REQUEST, SINGLES if many is None else PORTION
        if rate is not None:
            # No portion is larger than a quarter of a second's.
            most, portion = min(most, math.ceil(rate * LONGEST)), min(portion, rate // 4 or 1)
        keys = list(self._left().order_by("pk").values_list("pk", flat=True)[:most])
        for place in range(0, len(keys), portion):
            if many is None:
                self._singly(request, keys[place : place + portion], values)
            else:
                self._at_once(request, many, keys[place : place + portion], values)
            elapsed = time.monotonic() - started
            if self.progress.broken or elapsed > LONGEST:
                break
            if rate is not None:
                time.sleep(max(0.0, min(place + portion, len(keys)) / rate - elapsed))

    def _at_once(
        self,
        request: HttpRequest,
        many: PerformMany,
        keys: Sequence[Any],
        values: dict[str, Any],
    ) -> None:
        rows = self._loaded(request, keys)
        try:
            with _bounded(self.using):
                done, refused = many(
                    keys,
                    batch=self.progress.batch,
                    actor=actor_of(request),
                    using=self.using,
                    **values,
                )
                log(request, self.action, [rows[key] for key in done if key in rows], values)
        except self.action.refusals as error:
            self._met(keys[-1], refused=len(keys), why=[str(error)])
        except DatabaseError as error:
            self.progress.broken = not_done(error)
        else:
            self._met(keys[-1], done=len(done), refused=len(keys) - len(done), why=refused)

    def _singly(self, request: HttpRequest, keys: Sequence[Any], values: dict[str, Any]) -> None:
        rows = self._loaded(request, keys)
        for key in keys:
            if key not in rows:  # deleted meanwhile
                self._met(key, refused=1)
                continue
            try:
                with _bounded(self.using):
                    self.action.perform(key, actor=actor_of(request), using=self.using, **values)
                    log(request, self.action, [rows[key]], values)
            except self.action.refusals as error:
                self._met(key, refused=1, why=[str(error)])
            except DatabaseError as error:
                self.progress.broken = not_done(error)
                return
            else:
                self._met(key, done=1)

    def _met(self, key: Any, *, done: int = 0, refused: int = 0, why: Sequence[str] = ()) -> None:
        self.progress.after = key
        self.progress.done += done
        self.progress.refused += refused
        self.progress.refusals += why

    def _loaded(self, request: HttpRequest, keys: Sequence[Any]) -> dict[Any, Any]:
        rows = self.admin.get_list_queryset(self.admin.get_queryset(request)).order_by()
        return {row.pk: row for row in rows.filter(pk__in=keys)}

    def _end(self) -> list[tuple[bool, str]]:
        done, refused = self.progress.done, self.progress.refused
        of = f"{done:,} of {done + refused:,}" if refused else f"{done:,}"
        name = self.admin.opts.verbose_name if done == 1 else self.admin.opts.verbose_name_plural
        told = [(done > 0 or not refused, f"{of} {name} {self.action.done}.")]
        return told + [(False, redact_text(why)) for why in self.progress.refusals[:TOLD]]


@contextmanager
def _bounded(using: str) -> Iterator[None]:
    """A transaction in which nothing waits for minutes for a row of somebody else's."""
    with transaction.atomic(using=using):
        with connections[using].cursor() as cursor:
            cursor.execute(
                "SELECT set_config('lock_timeout', %s, true) "
                "WHERE current_setting('lock_timeout') = '0'",
                [LOCK_TIMEOUT],
            )
        yield


def _number(given: object) -> int:
    text = str(given)
    is_number = text.isascii() and text.isdigit() and len(text) < 13
    return min(int(text), MOST_DONE) if is_number else 0
