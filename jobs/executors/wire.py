"""Pure: outcomes as JSON, between the process of a run and its worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from jobs.runs import Cancelled, Failed, Outcome, Snoozed, Succeeded, TimedOut
from jobs.states import FailureKind

_KINDS = {kind.__name__: kind for kind in (Succeeded, Failed, TimedOut, Cancelled, Snoozed)}


def encode(outcome: Outcome) -> dict[str, Any]:
    return {"outcome": type(outcome).__name__, **asdict(outcome)}


def decode(found: Mapping[str, Any]) -> Outcome:
    fields = dict(found)
    kind = _KINDS[fields.pop("outcome")]
    if kind is Failed:
        fields["kind"] = FailureKind(fields["kind"])
    decoded: Outcome = kind(**fields)
    return decoded
