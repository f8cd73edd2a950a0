"""Pure: rows of our statements as records."""

from __future__ import annotations

import json
from typing import Any

from sagas.records import SagaRow, StepRow
from sagas.states import SagaState, StepState


def saga_row(row: tuple[Any, ...]) -> SagaRow:
    """As ``claim``, ``reload`` and ``lock`` select it."""
    return SagaRow(
        id=row[0],
        kind=row[1],
        version=row[2],
        state=SagaState(row[3]),
        input=_decoded(row[4]),
        epoch=row[5],
        correlation_id=row[6],
        actor=row[7],
        error=row[8],
        incident=row[9],
        deadline_at=row[10],
        pause_requested_at=row[11],
        cancel_requested_at=row[12],
        lost=row[13],
    )


def step_row(row: tuple[Any, ...]) -> StepRow:
    """As ``steps`` selects it, the saga's id first."""
    return StepRow(
        id=row[1],
        name=row[2],
        order=row[3],
        state=StepState(row[4]),
        output=_decoded(row[5]),
        undone=_decoded(row[6]),
        error=row[7],
        retry_count=row[8],
        compensation_attempts=row[9],
        verifications=row[10],
        waits=row[11],
        started_at=row[12],
        completed_at=row[13],
        due_at=row[14],
        timeout_at=row[15],
        deadline_at=row[16],
    )


def _decoded(value: Any) -> Any:
    """JSON as Python has it. Django's connection hands jsonb out as text, so statements here select
    it as text for either."""
    return None if value is None else json.loads(value)
