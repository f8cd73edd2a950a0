"""What a broker must have before events can go there: made by a command, never by a relay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable


class StreamReport(NamedTuple):
    """What was found or made at the broker."""

    #: Sentences for a person.
    lines: Sequence[str]
    #: What has to change before it can be relied upon; empty where all is well.
    problems: Sequence[str] = ()


class BrokerUnreachable(Exception):  # noqa: N818  (it reads as the fact it states)
    """The broker could not be asked. The text says where it was sought and why."""


@runtime_checkable
class HasStream(Protocol):
    """A publisher whose broker keeps a stream, an exchange or the like for it."""

    def check_stream(self) -> StreamReport:
        """Look, and change nothing. Raises BrokerUnreachable."""
        ...

    def create_stream(self) -> StreamReport:
        """Make what is missing, leave what is there as it is. Raises BrokerUnreachable."""
        ...
