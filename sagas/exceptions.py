"""What services of sagas raise; each says what was found and what is allowed."""

from __future__ import annotations

import uuid

from hodei.values import named


class SagaInvalid(ValueError):  # noqa: N818  (it reads as the fact it states)
    """What was given cannot be stored. Nothing was."""


class SagaNotFound(LookupError):  # noqa: N818
    """There is no saga with this id."""

    def __init__(self, saga: object) -> None:
        super().__init__(f"There is no saga {named(saga)}.")


class ActionRefused(Exception):  # noqa: N818
    """This cannot be done with the saga or step as it is. Nothing was changed."""


class ResourceLocked(Exception):  # noqa: N818
    """Another saga works on the resource."""

    def __init__(self, resource_type: str, resource_id: str, holder: uuid.UUID) -> None:
        self.holder = holder
        super().__init__(f"{resource_type} {resource_id} is locked by the saga {holder}.")
