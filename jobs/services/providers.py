"""Providers, which make workers: kept by their id, switched on and off, chosen by one rule.

How many workers one has is counted from the workers that live, never kept beside them. Each
function is one transaction of its own, or joins the caller's.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from django.db import DEFAULT_DB_ALIAS, IntegrityError, connections, transaction
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from hodei.values import identifier, member, named, shown
from jobs.events import ProviderEvent
from jobs.models import Provider, Worker
from jobs.selection import Candidate, Needs, capabilities, choose
from jobs.services import audit
from jobs.spec import JobInvalid, json_text, storable
from jobs.states import (
    CUSTOM_PROVIDER_TYPE,
    PROVIDER_TRANSITIONS,
    WORKER_FINAL,
    ProviderStatus,
    ProviderType,
)

LARGEST_CONFIG = 256 * 1024
MOST_WORKERS = 1_000_000
MOST_PRIORITY = 1_000_000
LONGEST_NAME, LONGEST_TYPE = 255, 50
#: The key of ``metadata`` under which capabilities are stored.
CAPABILITIES = "capabilities"


class ProviderInvalid(ValueError):  # noqa: N818  (it reads as the fact it states)
    """What was given can be no provider. Nothing was stored. The text names the field, the value
    and the rule."""


class ProviderNotFound(LookupError):  # noqa: N818
    """There is no provider of this id."""

    def __init__(self, provider_id: uuid.UUID) -> None:
        super().__init__(f"There is no provider {named(provider_id)}.")


class ProviderConflict(Exception):  # noqa: N818
    """What the provider is or has forbids this. Nothing was changed."""


class ProviderNotActive(ProviderConflict):
    """It makes no workers now."""


class ProviderFull(ProviderConflict):
    """It has as many live workers as it may have."""


class ProviderInUse(ProviderConflict):
    """There are workers of it, so it cannot be deleted."""


def save(
    provider_id: uuid.UUID,
    *,
    name: str,
    provider_type: str,
    actor: str,
    config: Mapping[str, Any] | None = None,
    capabilities: Mapping[str, Any] | None = None,
    priority: int = 0,
    max_workers: int = 10,
    tags: Iterable[str] = (),
    metadata: Mapping[str, Any] | None = None,
    reason: str | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> bool:
    """Store a provider, whole, under its id; a new one is ACTIVE. Returns whether it is new. Its
    status is not touched: ``set_status`` does that.

    Raises ProviderInvalid, and ProviderConflict where another provider has the name.
    """
    if identifier(provider_id) is None:
        raise ProviderInvalid(f"provider_id is {shown(provider_id)}; it is a UUID.")
    columns = _checked(
        name=name,
        provider_type=provider_type,
        config=config,
        can=capabilities,
        priority=priority,
        max_workers=max_workers,
        tags=tags,
        metadata=metadata,
    )
    try:
        with transaction.atomic(using=using), connections[using].cursor() as cursor:
            cursor.execute(_SAVE, {"id": provider_id, **columns})
            is_new = bool(cursor.fetchone()[0])
            audit.record(
                ProviderEvent.SAVED,
                {
                    "provider_id": str(provider_id),
                    "name": name,
                    "is_new": is_new,
                    **({} if reason is None else {"reason": reason}),
                },
                actor=actor,
                about=provider_id,
                using=using,
            )
    except IntegrityError as error:
        if "provider_configs_name_key" in str(error):
            raise ProviderConflict(
                f"There is another provider of the name {shown(name)}; give a name that is free."
            ) from error
        raise
    return is_new


def set_status(
    provider_id: uuid.UUID,
    status: ProviderStatus,
    *,
    reason: str,
    actor: str,
    using: str = DEFAULT_DB_ALIAS,
) -> bool:
    """Bring a provider into another status, by the table of transitions. Returns False, and changes
    nothing, where it is in it already. Raises ProviderNotFound and ProviderConflict, and ValueError
    for what is no status."""
    status = member(ProviderStatus, "status", status)
    with transaction.atomic(using=using):
        found = _lock(provider_id, using)
        before = ProviderStatus(found.status)
        if before is status:
            return False
        if status not in PROVIDER_TRANSITIONS[before]:
            allowed = ", ".join(sorted(PROVIDER_TRANSITIONS[before]))
            raise ProviderConflict(
                f"Provider {found.name!r} is {before} and cannot become {status}; from {before} it "
                f"can become {allowed}."
            )
        with connections[using].cursor() as cursor:
            cursor.execute(
                "UPDATE provider_configs SET status = %s, updated_at = clock_timestamp() "
                "WHERE id = %s",
                [status.value, provider_id],
            )
        audit.record(
            ProviderEvent.STATUS_CHANGED,
            {
                "provider_id": str(provider_id),
                "name": found.name,
                "before": before.value,
                "status": status.value,
                "reason": reason,
            },
            actor=actor,
            about=provider_id,
            using=using,
        )
    return True


def enable(
    provider_id: uuid.UUID, *, reason: str, actor: str, using: str = DEFAULT_DB_ALIAS
) -> bool:
    """Let it make workers: ACTIVE. As ``set_status``."""
    return set_status(provider_id, ProviderStatus.ACTIVE, reason=reason, actor=actor, using=using)


def disable(
    provider_id: uuid.UUID, *, reason: str, actor: str, using: str = DEFAULT_DB_ALIAS
) -> bool:
    """Let it make no more workers, until a person enables it: DISABLED. Those it has go on. As
    ``set_status``."""
    return set_status(provider_id, ProviderStatus.DISABLED, reason=reason, actor=actor, using=using)


def delete(
    provider_id: uuid.UUID, *, reason: str, actor: str, using: str = DEFAULT_DB_ALIAS
) -> None:
    """Remove a provider that has no workers. Raises ProviderNotFound and ProviderInUse."""
    with transaction.atomic(using=using):
        found = _lock(provider_id, using)
        workers = Worker.objects.using(using).filter(provider_id=provider_id)
        number, live = workers.count(), _live(workers).count()
        if number:
            raise ProviderInUse(
                f"Provider {found.name!r} has {live} live workers and {number - live} that have "
                "ended, and cannot be deleted. Disable it, drain what lives, and let jobs_prune "
                "remove what has ended."
            )
        audit.record(
            ProviderEvent.DELETED,
            {"provider_id": str(provider_id), "name": found.name, "reason": reason},
            actor=actor,
            about=provider_id,
            using=using,
        )
        with connections[using].cursor() as cursor:
            cursor.execute("DELETE FROM provider_configs WHERE id = %s", [provider_id])


def lock_room(provider_id: uuid.UUID, *, using: str = DEFAULT_DB_ALIAS) -> str:
    """Lock the provider until the caller's transaction ends, and return its type if it may have one
    more worker. Raises ProviderNotFound, ProviderNotActive and ProviderFull."""
    found = _lock(provider_id, using)
    if found.status != ProviderStatus.ACTIVE:
        raise ProviderNotActive(
            f"Provider {found.name!r} is {found.status}, and only an ACTIVE one makes workers."
        )
    # After the lock: a worker that was made while it was waited for is counted.
    live = _live(Worker.objects.using(using).filter(provider_id=provider_id)).count()
    if live >= found.max_workers:
        raise ProviderFull(
            f"Provider {found.name!r} has {live} live workers, and may have {found.max_workers}."
        )
    return found.provider_type


def select(needs: Needs, *, using: str = DEFAULT_DB_ALIAS) -> Candidate | None:
    """Return the provider that the one rule (``jobs.selection``) gives, or None. Read-only: nothing
    is reserved until the worker is made, and that may find it full."""
    return choose(candidates(using=using), needs)


def candidates(*, using: str = DEFAULT_DB_ALIAS) -> list[Candidate]:
    """Return every ACTIVE provider, as the rule looks at it, in one query."""
    live = (
        _live(Worker.objects.filter(provider_id=OuterRef("pk")))
        .order_by()
        .values("provider_id")
        .annotate(live=Count("pk"))
        .values("live")
    )
    rows = (
        Provider.objects.using(using)
        .filter(status=ProviderStatus.ACTIVE)
        .annotate(live_workers=Coalesce(Subquery(live), 0))
    )
    return [_candidate(row) for row in rows]


def _candidate(row: Any) -> Candidate:
    try:
        can = capabilities(row.metadata.get(CAPABILITIES) or {})
    except (ValueError, AttributeError, TypeError):
        # Not written by us: what cannot be read offers nothing but itself.
        can = capabilities({})
    return Candidate(
        id=row.pk,
        name=row.name,
        status=ProviderStatus(row.status),
        priority=row.priority,
        live_workers=row.live_workers,
        max_workers=row.max_workers,
        capabilities=can,
        tags=frozenset(tag for tag in row.tags if isinstance(tag, str)),
    )


def _checked(
    *,
    name: object,
    provider_type: object,
    config: Mapping[str, Any] | None,
    can: Mapping[str, Any] | None,
    priority: object,
    max_workers: object,
    tags: Iterable[str],
    metadata: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The columns. Raises ProviderInvalid."""
    known = isinstance(provider_type, str) and (
        provider_type in set(ProviderType) or re.match(CUSTOM_PROVIDER_TYPE, provider_type)
    )
    if not known or len(str(provider_type)) > LONGEST_TYPE:
        raise ProviderInvalid(
            f"provider_type is {shown(provider_type)}; it is one of {', '.join(ProviderType)}, or "
            f"custom: and a name, of at most {LONGEST_TYPE} characters."
        )
    given_tags = _tags(tags)
    for field, value in (("config", config), ("capabilities", can), ("metadata", metadata)):
        if value is not None and not isinstance(value, Mapping):
            raise ProviderInvalid(f"{field} is {shown(value)}; it is a dict.")
    own = dict(metadata or {})
    try:
        if can is not None:
            json_text("capabilities", can, LARGEST_CONFIG)
            capabilities(can)
            own[CAPABILITIES] = dict(can)
        _text("name", name, LONGEST_NAME)
        storable("provider_type", str(provider_type))
        return {
            "name": name,
            "provider_type": provider_type,
            "config": json_text("config", {} if config is None else config, LARGEST_CONFIG),
            "priority": _number("priority", priority, -MOST_PRIORITY, MOST_PRIORITY),
            "max_workers": _number("max_workers", max_workers, 1, MOST_WORKERS),
            "tags": json.dumps(json.loads(json_text("tags", {"": given_tags}, LARGEST_CONFIG))[""]),
            "metadata": json_text("metadata", own, LARGEST_CONFIG),
        }
    except ProviderInvalid:
        raise
    except (JobInvalid, ValueError, TypeError) as error:
        raise ProviderInvalid(str(error)) from error


def _tags(given: object) -> list[str]:
    found: list[object] = [None]
    if isinstance(given, Iterable) and not isinstance(given, (str, bytes, Mapping)):
        found = list(given)
    tags = [tag for tag in found if isinstance(tag, str) and tag]
    if len(tags) < len(found):
        raise ProviderInvalid(f"tags is {shown(given)}; it is a list of texts.")
    return tags


def _text(field: str, value: object, longest: int) -> None:
    if not isinstance(value, str) or not 1 <= len(value) <= longest:
        raise ProviderInvalid(
            f"{field} is {shown(value)}; it is a text of 1 to {longest} characters."
        )
    storable(field, value)


def _number(field: str, value: object, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ProviderInvalid(
            f"{field} is {shown(value)}; it is a whole number from {least} to {most}."
        )
    return value


def _lock(provider_id: uuid.UUID, using: str) -> Provider:
    if identifier(provider_id) is None:
        raise ProviderNotFound(provider_id)
    found = Provider.objects.using(using).select_for_update().filter(pk=provider_id).first()
    if found is None:
        raise ProviderNotFound(provider_id)
    return found


def _live(workers: QuerySet[Worker]) -> QuerySet[Worker]:
    return workers.exclude(state__in=[state.value for state in WORKER_FINAL])


_SAVE = """
INSERT INTO provider_configs (id, name, provider_type, config, status, priority, max_workers, tags,
                              metadata, created_at, updated_at)
VALUES (%(id)s, %(name)s, %(provider_type)s, %(config)s::jsonb, 'ACTIVE', %(priority)s,
        %(max_workers)s, %(tags)s::jsonb, %(metadata)s::jsonb, clock_timestamp(), clock_timestamp())
    ON CONFLICT (id) DO UPDATE
   SET name = excluded.name, provider_type = excluded.provider_type, config = excluded.config,
       priority = excluded.priority, max_workers = excluded.max_workers, tags = excluded.tags,
       metadata = excluded.metadata, updated_at = clock_timestamp()
RETURNING xmax = 0
"""
