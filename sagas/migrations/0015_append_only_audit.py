"""The audit refuses UPDATE and DELETE: a guard against accidents.

Retention turns it off for its own transaction, by ``SET LOCAL hodei.retention = 'on'``. Grants are
the real guard against people; TRUNCATE is not refused, since test suites flush with it.
"""

from __future__ import annotations

from django.db import migrations

GUARD = """
CREATE FUNCTION sagas_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('hodei.retention', true) = 'on' THEN
        IF TG_OP = 'DELETE' THEN
            RETURN OLD;
        END IF;
        RETURN NEW;
    END IF;
    RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'integrity_constraint_violation',
              HINT = 'Only retention deletes, with hodei.retention set to on in its transaction.';
END
$$;
COMMENT ON FUNCTION sagas_refuse_change() IS
    'Refuses UPDATE and DELETE unless hodei.retention is on in the transaction';
CREATE TRIGGER saga_audit_events_append_only BEFORE UPDATE OR DELETE ON saga_audit_events
    FOR EACH ROW EXECUTE FUNCTION sagas_refuse_change();
"""

NO_GUARD = """
DROP TRIGGER saga_audit_events_append_only ON saga_audit_events;
DROP FUNCTION sagas_refuse_change();
"""


class Migration(migrations.Migration):
    dependencies = [("sagas", "0014_drop_old_indexes")]

    operations = [migrations.RunSQL(GUARD, NO_GUARD)]
