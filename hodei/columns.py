"""Parts of columns that the three apps share."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from django.core.checks import CheckMessage
from django.db.models import DateTimeField, Func, GeneratedField


def now() -> Func:
    """PostgreSQL's ``now()``, the start of the transaction, as a column default.

    Django's own ``Now()`` is ``statement_timestamp()``, which is another default in the catalog.
    """
    return Func(function="now", output_field=DateTimeField())


def words_of(value: str) -> str:
    """A stored value as words for a screen."""
    return value.replace("_", " ").capitalize()


def choices(states: type[StrEnum]) -> list[tuple[str, str]]:
    """The list of states as a field's choices: stored value, and words for a screen."""
    return [(state.value, words_of(state.value)) for state in states]


def values(states: Iterable[StrEnum]) -> list[str]:
    """The stored values of the states, for a constraint."""
    return [state.value for state in states]


class StoredField(GeneratedField):
    """A stored generated column, which every PostgreSQL we support has.

    Django's check asks the server for it, so ``manage.py check`` would need one.
    """

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        """Check the definition, and ask no database."""
        return super().check(**{**kwargs, "databases": []})
