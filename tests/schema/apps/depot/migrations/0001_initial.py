from __future__ import annotations

from django.db import migrations, models

SQL = """
CREATE SEQUENCE depot_ticket;
CREATE TYPE depot_size AS ENUM ('small', 'large');
CREATE FUNCTION depot_touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RETURN NEW; END $$;
CREATE TRIGGER depot_touch BEFORE UPDATE ON depot_shelf
    FOR EACH ROW EXECUTE FUNCTION depot_touch();
CREATE FUNCTION depot_fits(size depot_size, label text) RETURNS boolean LANGUAGE sql
    RETURN size = 'large';
CREATE VIEW depot_labels AS SELECT id, label, depot_fits('small', label) FROM depot_shelf;
"""


class Migration(migrations.Migration):
    dependencies = []
    operations = [
        migrations.CreateModel(
            "Shelf",
            [
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("label", models.TextField()),
            ],
        ),
        migrations.CreateModel(
            "Crate",
            [
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("shelf", models.ForeignKey("depot.Shelf", models.CASCADE)),
                ("name", models.TextField(default="")),
            ],
        ),
        migrations.RunSQL(SQL, migrations.RunSQL.noop),
    ]
