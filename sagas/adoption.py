"""The past of these tables: what the original's older releases and its own code made of them.

For ``schema_adopt``, which runs it and knows none of it. Every rule is in
docs/reference/schema_adopt.md.
"""

from __future__ import annotations

from hodei.schema.adoption.variants import Adoption, RowRepair

WITHOUT_SAGA = "NOT EXISTS (SELECT FROM sagas WHERE sagas.id = saga_steps.saga_id)"

# Which kind it was nobody knows: EXECUTION is the most frequent one. Final, so that nothing runs.
ADD_STUBS = f"""
    INSERT INTO sagas (id, saga_type, state, started_at, completed_at, created_at, updated_at,
                       error_message, metadata)
    SELECT saga_id, 'EXECUTION', 'CANCELLED', min(created_at), now(), min(created_at), now(),
           'This saga was gone when the database was adopted; its steps were not.',
           jsonb_build_object('_repaired', jsonb_build_object('stub', true))
      FROM saga_steps WHERE {WITHOUT_SAGA} GROUP BY saga_id
"""

# Head takes the time from the saga where it is missing, and here there is none.
UNDATED = """
    occurred_at IS NULL
    AND NOT EXISTS (SELECT FROM sagas WHERE sagas.id = saga_audit_events.saga_id)
"""

ADOPTION = Adoption(
    rows=(
        RowRepair(
            table="saga_steps",
            found="belong to a saga that is gone",
            becomes="a saga is added for each, CANCELLED and marked as a stub",
            where=WITHOUT_SAGA,
            statements=(ADD_STUBS,),
            covers=frozenset({"saga_steps.saga_steps_saga_id_fkey"}),
        ),
        RowRepair(
            table="saga_audit_events",
            found="say neither when they happened nor belong to a saga that does",
            becomes="the time of the adoption",
            where=UNDATED,
            statements=(f"UPDATE saga_audit_events SET occurred_at = now() WHERE {UNDATED}",),
        ),
    ),
    relaxed={
        "sagas.sagas_saga_type_check": None,
        "saga_steps.saga_steps_state_check": (
            "state IN ('PENDING', 'IN_PROGRESS', 'COMPLETED', 'FAILED', 'UNKNOWN', 'SKIPPED', "
            "'COMPENSATING', 'COMPENSATED', 'PARKED')"
        ),
        # The audit outlives its saga: head has no such key.
        "saga_audit_events.saga_audit_events_saga_id_fkey": None,
    },
)
