"""Pure: the name of a subject, a routing key or a stream, made from the event.

A template is text with fields: ``shop.{aggregate_type}.{event_type}``. What an event fills in is
one token whatever it holds: a space, a dot or a wildcard in an event type is written ``%20``,
``%2E``, ``%2A``, so that it neither makes a token more nor meets somebody's pattern, and two types
never meet in one name.
"""

from __future__ import annotations

import re
from functools import lru_cache
from string import Formatter
from urllib.parse import quote

from outbox.events import Event

FIELDS = ("aggregate_type", "aggregate_id", "event_type", "version")
_LITERAL = re.compile(r"[A-Za-z0-9_.:/-]*")


class Template:
    """Raises ValueError, whose text says what a template may be."""

    def __init__(self, template: str) -> None:
        self.text = template
        #: Texts, and names of fields.
        self._parts: list[tuple[str, str | None]] = []
        try:
            for literal, name, spec, conversion in Formatter().parse(template):
                if name is not None and (name not in FIELDS or spec or conversion):
                    raise ValueError(f"{{{name}}} is none of its fields")  # noqa: TRY301
                if not _LITERAL.fullmatch(literal):
                    raise ValueError(f"{literal!r} has a character that is not allowed")  # noqa: TRY301
                self._parts.append((literal, name))
        except ValueError as error:
            fields = ", ".join(f"{{{name}}}" for name in FIELDS)
            raise ValueError(
                f"{template!r} cannot be a name: {error}. It is made of letters, digits, '_-.:/' "
                f"and the fields {fields}."
            ) from error

    def of(self, event: Event) -> str:
        return "".join(
            literal if name is None else literal + token(str(getattr(event, name)))
            for literal, name in self._parts
        )

    def pattern(self, wildcard: str) -> str:
        """The tokens between the dots, and the wildcard for those that depend on the event."""
        whole = "".join(
            literal if name is None else f"{literal}\0" for literal, name in self._parts
        )
        return ".".join(wildcard if "\0" in one else one for one in whole.split("."))


@lru_cache(maxsize=4096)
def token(text: str) -> str:
    """The text as one token: letters, digits, ``_``, ``-``, ``~`` and ``%XX`` for all others."""
    return quote(text, safe="").replace(".", "%2E")
