"""Pure: which provider gets a job. There is one rule, and everything that chooses uses it.

Eligible is a provider that is ACTIVE, has room, and offers what the job needs. Of those the highest
priority wins, then the lowest load (live workers over the workers it may have), then the name.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from hodei.values import shown
from jobs.states import ProviderStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a job asks of a provider; a default asks nothing."""

    #: Cores, and MiB.
    cpu: float = 0
    memory: int = 0
    #: Number of GPUs.
    gpu: int = 0
    region: str | None = None
    #: Each must be a tag of the provider.
    labels: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What one worker of a provider can have. None is no limit, but for GPUs: they must be said."""

    cpu: float | None = None
    memory: int | None = None
    gpu: int = 0
    #: None serves every region.
    region: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A provider, as the rule looks at it."""

    id: uuid.UUID
    name: str
    status: ProviderStatus
    priority: int
    live_workers: int
    max_workers: int
    capabilities: Capabilities
    tags: frozenset[str]


def choose(candidates: Iterable[Candidate], needs: Needs) -> Candidate | None:
    """Return the provider that the rule gives, or None where none is eligible."""
    able = [candidate for candidate in candidates if unable(candidate, needs) is None]
    return min(able, key=_order, default=None)


def unable(candidate: Candidate, needs: Needs) -> str | None:
    """Why this provider is not eligible, in words; None where it is."""
    can = candidate.capabilities
    reasons = {
        f"it is {candidate.status.value}": candidate.status is not ProviderStatus.ACTIVE,
        f"all its {candidate.max_workers} workers are in use": candidate.live_workers
        >= candidate.max_workers,
        f"it has {can.cpu} cores": can.cpu is not None and needs.cpu > can.cpu,
        f"it has {can.memory} MiB": can.memory is not None and needs.memory > can.memory,
        f"it has {can.gpu} GPUs": needs.gpu > can.gpu,
        f"it is in {can.region}": None not in {needs.region, can.region}
        and needs.region != can.region,
        "it lacks labels": not needs.labels <= candidate.tags,
    }
    return next((words for words, holds in reasons.items() if holds), None)


def capabilities(given: Mapping[str, Any]) -> Capabilities:
    """Read what was stored or given. Raises ValueError, which names the key, the value and the
    rule."""
    known = {field.name for field in fields(Capabilities)}
    unknown = [key for key in given if key not in known]
    if unknown:
        raise ValueError(
            f"capabilities has {shown(unknown[0])}; it may have {', '.join(sorted(known))}."
        )
    for key in ("cpu", "memory", "gpu"):
        value = given.get(key, 0)
        whole = key != "cpu"
        kinds = int if whole else (int, float)
        if value is None and key != "gpu":
            continue
        if isinstance(value, bool) or not isinstance(value, kinds) or not 0 <= value < 2**31:
            raise ValueError(
                f"capabilities[{key!r}] is {shown(value)}; it is a {'whole ' * whole}number, 0 or "
                "more."
            )
    region = given.get("region")
    if region is not None and (not isinstance(region, str) or not region):
        raise ValueError(f"capabilities['region'] is {shown(region)}; it is a text.")
    return Capabilities(**given)


def _order(candidate: Candidate) -> tuple[Any, ...]:
    return (-candidate.priority, candidate.live_workers / candidate.max_workers, candidate.name)
