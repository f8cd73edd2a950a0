"""What the built-in sagas were started with, read with care: anybody may start one."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from sagas.definition import StepContext, StepFailed


def uuid_of(values: Any, name: str, where: str = "input") -> uuid.UUID:
    """Raises StepFailed, for good."""
    value = values.get(name) if isinstance(values, Mapping) else None
    try:
        return uuid.UUID(str(value))
    except ValueError as error:
        raise refused(f"{where}[{name!r}] is {value!r:.80}; it is a uuid.") from error


def refused(words: object) -> StepFailed:
    """What another try would not help."""
    return StepFailed(str(words), retry=False)


def actor_of(context: StepContext) -> str:
    """Who is on record for what a step does."""
    return f"saga {context.kind} {context.saga_id}"
