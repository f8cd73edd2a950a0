"""Resources that one live saga holds, so that no second one works on them.

A saga takes them when it is started (``start(..., locks=...)``) or in a local step, and they are
released when it ends; not while it is COMPENSATION_FAILED, for then the resource may be half
undone. They say nothing to code that is no saga.
"""

from __future__ import annotations

import uuid

from django.db import DEFAULT_DB_ALIAS, connections

from hodei.values import shown, unstorable
from sagas.exceptions import ResourceLocked, SagaInvalid

LONGEST_TYPE, LONGEST_ID = 50, 255


def acquire(
    saga: uuid.UUID, resource_type: str, resource_id: object, *, using: str = DEFAULT_DB_ALIAS
) -> None:
    """Lock the resource for a saga, which may have it already. Joins the caller's transaction.

    Waits for a transaction that is just taking it. Raises ResourceLocked, and SagaInvalid.
    """
    name = checked(resource_type, resource_id)
    with connections[using].cursor() as cursor:
        while True:
            cursor.execute(
                "INSERT INTO saga_locks (resource_type, resource_id, saga_id, acquired_at) "
                "VALUES (%s, %s, %s, clock_timestamp()) "
                "ON CONFLICT (resource_type, resource_id) DO NOTHING",
                [*name, saga],
            )
            if cursor.rowcount:
                return
            found = holder(resource_type, resource_id, using=using)
            if found == saga:
                return
            if found is not None:
                raise ResourceLocked(*name, found)


def release(
    saga: uuid.UUID, resource_type: str, resource_id: object, *, using: str = DEFAULT_DB_ALIAS
) -> bool:
    """Unlock it before the saga ends; False if the saga does not hold it. Joins the caller's
    transaction."""
    with connections[using].cursor() as cursor:
        cursor.execute(
            "DELETE FROM saga_locks WHERE resource_type = %s AND resource_id = %s AND saga_id = %s",
            [*checked(resource_type, resource_id), saga],
        )
        return bool(cursor.rowcount)


def holder(
    resource_type: str, resource_id: object, *, using: str = DEFAULT_DB_ALIAS
) -> uuid.UUID | None:
    """The saga that holds it."""
    with connections[using].cursor() as cursor:
        cursor.execute(
            "SELECT saga_id FROM saga_locks WHERE resource_type = %s AND resource_id = %s",
            list(checked(resource_type, resource_id)),
        )
        row = cursor.fetchone()
        return None if row is None else row[0]


def _written(resource_id: object) -> object:
    """A number and an id as texts; what else can be written, too."""
    if isinstance(resource_id, str):
        return resource_id
    try:
        return str(resource_id)
    except Exception:  # noqa: BLE001  (it may be any object, or a number with too many digits)
        return resource_id


def checked(resource_type: object, resource_id: object) -> tuple[str, str]:
    """The resource as it is stored. Raises SagaInvalid."""
    found = []
    for name, value, longest in (
        ("resource_type", resource_type, LONGEST_TYPE),
        ("resource_id", _written(resource_id), LONGEST_ID),
    ):
        if not isinstance(value, str) or not 1 <= len(value) <= longest:
            raise SagaInvalid(
                f"{name} is {shown(value)}; it is a text of 1 to {longest} characters."
            )
        wrong = unstorable(value)
        if wrong is not None:
            raise SagaInvalid(f"{name} {wrong}.")
        found.append(value)
    return found[0], found[1]
