"""What a person may decide about a row: for which a reason is asked, and which a service does."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from django import forms
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import ValidationError
from django.db import DatabaseError, transaction
from django.db.models import Model, QuerySet
from django.forms.fields import InvalidJSONInput
from django.http import HttpRequest

from hodei.redaction import redact_text

#: Rows that one decision is about at most; more are for the commands, which work in batches.
MOST_AT_ONCE = 500
#: What every service takes as a reason, and as who gives it.
LONGEST_REASON, LONGEST_ACTOR = 1_000, 100


#: A service for many: ``(keys, batch=, reason=, actor=, using=, **values)``. It joins the
#: transaction, does it with all that allow it, and returns their keys, and why it refused others.
PerformMany: TypeAlias = Callable[..., tuple[Collection[Any], Sequence[str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing that can be decided.

    ``perform(key, reason=, actor=, using=, **values)`` is the service. It joins the transaction,
    raises one of ``refusals`` where the row forbids it, and has changed nothing then; what it
    returns is told to the person. ``part`` is the name under which it takes a part of the row, as
    the address gives it, and ``fields`` are further questions, by the names of what it takes.
    """

    #: In addresses.
    name: str
    #: A verb, for buttons: "Cancel"; and what was done then: "cancelled".
    label: str
    done: str
    #: What it does, for the page that asks.
    about: str
    permission: str
    perform: Callable[..., str]
    refusals: tuple[type[Exception], ...]
    part: str | None = None
    fields: Mapping[str, Callable[[], forms.Field]] = field(default_factory=dict)
    #: Whether it is offered for a selection of a list.
    many: bool = True
    #: Of the rows of a list, those that it can be done with. Without it, it is not offered for all
    #: that match a filter.
    among: Callable[[QuerySet[Any]], QuerySet[Any]] | None = None
    #: The service for many at once; without it each row is left to ``perform``.
    perform_many: PerformMany | None = None


#: Why this cannot be done with the row, or with this part of it; None: it can.
Judge: TypeAlias = Callable[[Action, Any, str | None], str | None]


class DecisionForm(forms.Form):
    """The reason, after whatever else the action asks."""

    reason = forms.CharField(
        max_length=LONGEST_REASON,
        widget=forms.Textarea(attrs={"rows": 3, "cols": 60}),
        help_text="It is kept on record, with your name. No secrets, please.",
    )

    def __init__(self, action: Action, data: Any = None) -> None:
        super().__init__(data)
        for name, make in action.fields.items():
            self.fields[name] = make()
        self.order_fields([*action.fields, "reason"])

    def values(self) -> dict[str, Any]:
        """What the service takes, the reason among it."""
        return dict(self.cleaned_data)


class OutputField(forms.JSONField):
    """JSON that somebody types; nothing is null."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            required=False,
            widget=forms.Textarea(attrs={"rows": 4, "cols": 60, "spellcheck": "false"}),
            **options,
        )

    def to_python(self, value: Any) -> Any:
        """The value. Nesting, and numbers, that Python cannot read are mistakes like any other."""
        try:
            return super().to_python(value)
        except RecursionError:
            raise ValidationError("It is nested too deeply.") from None
        except ValueError:
            raise ValidationError("It holds a number with too many digits.") from None

    def bound_data(self, data: Any, initial: Any) -> Any:
        """What was typed, as it was typed where it cannot be read."""
        try:
            return super().bound_data(data, initial)
        except (RecursionError, ValueError):
            return InvalidJSONInput(data)

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Nobody asks."""
        return True


@dataclass(slots=True)
class Outcome:
    """What became of a decision: what the services said of each row, and why they refused."""

    done: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def actor_of(request: HttpRequest) -> str:
    """Who decides, as audits have it."""
    return f"admin:{request.user.get_username()}"[:LONGEST_ACTOR]


def carry_out(
    request: HttpRequest,
    action: Action,
    rows: Sequence[Model],
    values: Mapping[str, Any],
    *,
    using: str,
) -> Outcome:
    """Do it with each row, in a transaction of its own, and note it in Django's log as well."""
    outcome = Outcome()
    for row in rows:
        try:
            with transaction.atomic(using=using):
                said = action.perform(row.pk, actor=actor_of(request), using=using, **values)
                log(request, action, [row], values)
        except action.refusals as error:
            outcome.refused.append(str(error))
        except DatabaseError as error:
            outcome.refused.append(f"{row}: {not_done(error)} Try again.")
        else:
            outcome.done.append(said)
    return outcome


def not_done(error: DatabaseError) -> str:
    """What the database says, in one line. It may be a deadlock or a limit of time: another try may
    succeed."""
    line = redact_text(str(error)).partition("\n")[0]
    return f"the database has not done it ({line})."


def log(
    request: HttpRequest, action: Action, rows: Sequence[Model], values: Mapping[str, Any]
) -> None:
    """Note in Django's log that it was done with these rows."""
    of = f" {values[action.part]}" if action.part else ""
    message = f"{action.label}{of}: {redact_text(values['reason'])}"
    user: Any = request.user  # whoever has a permission is somebody
    LogEntry.objects.log_actions(user.pk, rows, CHANGE, message)
