"""Sagas of long ago in any number, and what the server makes of a statement beside them."""

from __future__ import annotations

from typing import Any

from hodei.sql import statement
from sagas.definition import Saga, Step, StepContext, steps_hash
from sagas.leases import NO_LIMIT


def nothing(_context: StepContext) -> None: ...


class Plain(Saga):
    kind = "PLAIN"
    steps = (Step("a", nothing, local=True), Step("b", nothing))


FILL = """
    INSERT INTO sagas (saga_type, state, outcome, definition_version, steps_hash, due_at, metadata,
                       started_at, completed_at)
    SELECT CASE WHEN n %% 10 = 0 THEN 'OTHER' ELSE 'PLAIN' END, %(state)s, %(outcome)s, 1,
           %(hash)s, CASE WHEN %(outcome)s::text IS NULL
                          THEN clock_timestamp() + (n - %(number)s / 2) * interval '1 second' END,
           '{}', now() - interval '31 days' - n * interval '1 minute',
           CASE WHEN %(outcome)s::text IS NOT NULL THEN now() - interval '31 days' END
      FROM generate_series(1, %(number)s) AS s (n)"""
AUDIT = """
    INSERT INTO saga_audit_events (id, saga_id, event_type, occurred_at)
    SELECT gen_random_uuid(), CASE WHEN n %% 2 = 0 THEN gen_random_uuid() ELSE id END, 'X',
           now() - n * interval '1 minute' - interval '91 days'
      FROM (SELECT id, row_number() OVER () AS n FROM sagas LIMIT %s) AS s"""


def fill(tables: Any, state: str, number: int, outcome: str | None = None) -> None:
    tables.execute(
        FILL,
        {"state": state, "outcome": outcome, "number": number, "hash": steps_hash(Plain)},
    )


KINDS: dict[str, Any] = {"kinds": ["PLAIN"], "versions": [1]}
CLAIM: dict[str, Any] = {
    **KINDS,
    "hashes": [steps_hash(Plain)],
    "rooms": [NO_LIMIT],
    "number": 100,
    "suspects": 1,
    "owner": "me",
    "seconds": 30.0,
}


def explain(session: Any, name: str, parameters: Any, options: str = "") -> dict[str, Any]:
    row = session.execute(
        f"EXPLAIN ({options}FORMAT JSON) {statement('sagas', name)}", parameters
    ).fetchone()
    found: dict[str, Any] = row[0][0]
    return found["Plan"]  # type: ignore[no-any-return]
