"""Repair what the original could leave. Every rule is in docs/reference/repairs.md.

Repairs are not undone on the way back: what they write is legal in the baseline too.
"""

from __future__ import annotations

from django.db import migrations

from hodei.schema.repair import kept, walk


def repair(apps, schema_editor):
    connection = schema_editor.connection
    walk(
        connection,
        "sagas",
        change="""
            started_at = coalesce(started_at, created_at, completed_at, now()),
            created_at = coalesce(created_at, started_at, completed_at, now()),
            updated_at = coalesce(updated_at, completed_at, started_at, created_at, now())
        """,
        where="started_at IS NULL OR created_at IS NULL OR updated_at IS NULL",
    )
    walk(
        connection,
        "saga_steps",
        change="""
            retry_count = coalesce(retry_count, 0),
            created_at = coalesce(saga_steps.created_at, saga_steps.started_at, (
                SELECT s.created_at FROM sagas s WHERE s.id = saga_id)),
            updated_at = coalesce(saga_steps.updated_at, saga_steps.completed_at,
                saga_steps.started_at, saga_steps.created_at, (
                SELECT s.created_at FROM sagas s WHERE s.id = saga_id))
        """,
        where="retry_count IS NULL OR created_at IS NULL OR updated_at IS NULL",
    )
    walk(
        connection,
        "saga_audit_events",
        change="""
            occurred_at = (SELECT s.started_at FROM sagas s WHERE s.id = saga_id)
        """,
        where="occurred_at IS NULL",
    )
    with connection.cursor() as cursor:
        cursor.execute(RENUMBER_STEPS)
        for rename in (RENAME_STEPS, RENAME_STEPS_BY_ID):
            cursor.execute(rename)
    walk(
        connection,
        "sagas",
        change="""
            outcome = CASE
                WHEN state = 'CANCELLED' THEN 'CANCELLED'
                WHEN state = 'FAILED' THEN 'COMPENSATION_FAILED'
                WHEN EXISTS (SELECT FROM saga_steps p
                              WHERE p.saga_id = sagas.id AND p.state = 'COMPENSATED')
                THEN 'COMPENSATED' ELSE 'COMPLETED' END
        """,
        where="outcome IS NULL AND state IN ('COMPLETED', 'FAILED', 'CANCELLED')",
    )


# Only sagas with two steps of one number: all their steps are numbered anew from the lowest, in the
# order of number, age and id, and the numbers they had are kept in the saga.
RENUMBER_STEPS = f"""
WITH numbered AS (
    SELECT id, saga_id, step_order AS before,
           min(step_order) OVER (PARTITION BY saga_id) - 1 + row_number() OVER (
               PARTITION BY saga_id ORDER BY step_order, created_at, id) AS after
      FROM saga_steps
     WHERE saga_id IN (SELECT saga_id FROM saga_steps
                        GROUP BY saga_id, step_order HAVING count(*) > 1)
), changed AS (
    UPDATE saga_steps SET step_order = n.after FROM numbered n
     WHERE n.id = saga_steps.id AND n.before <> n.after
), notes AS (
    SELECT saga_id, jsonb_object_agg(id, before) AS note FROM numbered GROUP BY saga_id
)
UPDATE sagas SET metadata = {kept("coalesce(sagas.metadata, '{}')", "step_order", "notes.note")}
  FROM notes WHERE notes.saga_id = sagas.id
"""


def _rename(new_name):
    return f"""
WITH ranked AS (
    SELECT id, saga_id, step_name AS before, row_number() OVER (
               PARTITION BY saga_id, step_name ORDER BY step_order, created_at, id) AS place
      FROM saga_steps
), changed AS (
    UPDATE saga_steps SET step_name = {new_name} FROM ranked r
     WHERE r.id = saga_steps.id AND r.place > 1
    RETURNING saga_steps.saga_id, saga_steps.id, r.before
), notes AS (
    SELECT saga_id, jsonb_object_agg(id, before) AS note FROM changed GROUP BY saga_id
)
UPDATE sagas SET metadata = {kept("coalesce(sagas.metadata, '{}')", "step_name", STEP_NAMES)}
  FROM notes WHERE notes.saga_id = sagas.id
"""


# The name that a step had first wins over one that it got from the first renaming.
STEP_NAMES = "notes.note || coalesce(sagas.metadata -> '_repaired' -> 'step_name', '{}'::jsonb)"

RENAME_STEPS = _rename("left(step_name, 90) || '#' || r.place")
# Where that name was taken too: with the id nothing can be.
RENAME_STEPS_BY_ID = _rename("left(step_name, 63) || '#' || r.id")


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("sagas", "0005_require")]

    operations = [migrations.RunPython(repair, migrations.RunPython.noop)]
