"""Who could make a worker, and which workers are silent: what RECOVERY and the scheduler ask."""

from __future__ import annotations

import uuid
from collections.abc import Collection

from django.db import connections

from jobs.models import Provider
from jobs.selection import Candidate, Needs, choose, unable
from jobs.services import providers
from jobs.services.workers import SILENCE_SECONDS
from sagas.providers import registered

#: The provider under which workers enter that people started themselves. Nothing is made under it.
BY_HAND = "local"


def able(using: str) -> list[Candidate]:
    """The ACTIVE providers with an implementation, full or not."""
    types = dict(
        Provider.objects.using(using)
        .filter(provider_type__in=list(registered()))
        .exclude(name=BY_HAND)
        .values_list("pk", "provider_type")
    )
    return [one for one in providers.candidates(using=using) if one.id in types]


def provider_for(queue: str, *, first: uuid.UUID | None = None, using: str) -> uuid.UUID | None:
    """Who is to make a worker for a queue: ``first`` if it can, or else as the one rule says; None
    where nobody can."""
    needs = Needs()
    serving = [one for one in able(using) if _serves(one.id, queue, using)]
    for one in serving:
        if one.id == first and unable(one, needs) is None:
            return one.id
    chosen = choose(serving, needs)
    return None if chosen is None else chosen.id


def is_full(provider_id: uuid.UUID | None, using: str) -> bool:
    return any(one.id == provider_id and one.live_workers >= one.max_workers for one in able(using))


def silent_workers(ids: Collection[uuid.UUID], using: str) -> set[uuid.UUID]:
    """Those of them that have given no sign of life for too long."""
    with connections[using].cursor() as cursor:
        cursor.execute(
            "SELECT id FROM workers WHERE id = ANY(%s) AND coalesce(last_heartbeat, created_at) "
            "< clock_timestamp() - %s * interval '1 second'",
            [list(ids), SILENCE_SECONDS],
        )
        return {row[0] for row in cursor.fetchall()}


def _serves(provider_id: uuid.UUID, queue: str, using: str) -> bool:
    """Whether its workers take jobs of this queue: they take all where its config names none."""
    config = Provider.objects.using(using).values_list("config", flat=True).get(pk=provider_id)
    queues = config.get("queues") if isinstance(config, dict) else None
    return not isinstance(queues, list) or not queues or queue in queues
