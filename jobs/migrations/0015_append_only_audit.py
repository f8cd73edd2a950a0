"""The audit refuses UPDATE and DELETE: a guard against accidents.

Retention turns it off for its own transaction, by ``SET LOCAL hodei.retention = 'on'``. Grants are
the real guard against people; TRUNCATE is not refused, since test suites flush with it.
"""

from __future__ import annotations

from django.db import migrations

GUARD = """
CREATE FUNCTION jobs_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
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
COMMENT ON FUNCTION jobs_refuse_change() IS
    'Refuses UPDATE and DELETE unless hodei.retention is on in the transaction';
CREATE TRIGGER audit_logs_append_only BEFORE UPDATE OR DELETE ON audit_logs
    FOR EACH ROW EXECUTE FUNCTION jobs_refuse_change();
"""

NO_GUARD = """
DROP TRIGGER audit_logs_append_only ON audit_logs;
DROP FUNCTION jobs_refuse_change();
"""


class Migration(migrations.Migration):
    dependencies = [("jobs", "0014_storage")]

    operations = [migrations.RunSQL(GUARD, NO_GUARD)]
