"""What an older release of the other program made of plots, and rows that it left."""

from __future__ import annotations

from dataclasses import replace

from hodei.schema.adoption.variants import Adoption, ForeignHistory, OlderShape, RowRepair
from hodei.schema.catalog.model import Relation


def name_them(table: Relation) -> tuple[tuple[str, ...], Relation]:
    columns = [replace(one, name="name") if one.name == "title" else one for one in table.columns]
    return ("ALTER TABLE plots RENAME COLUMN title TO name",), replace(
        table, columns=tuple(columns)
    )


ADOPTION = Adoption(
    older_shapes=(
        OlderShape(
            table="plots",
            name="of the years when plots had titles",
            becomes="they are called names",
            columns=frozenset({"title"}),
            convert=name_them,
            reading={"name": "title"},
        ),
    ),
    rows=(
        RowRepair(
            table="fences",
            found="have no length",
            becomes="it is 0",
            where="length IS NULL",
            statements=("UPDATE fences SET length = 0 WHERE length IS NULL",),
            covers=frozenset({"fences.length"}),
        ),
    ),
    relaxed={"plots.plots_kind_check": "kind IN ('FIELD', 'WOOD', 'POND')"},
    obsolete_indexes={"plots": frozenset({"(kind)", "plots_of_old"})},
    histories=(
        ForeignHistory(
            table="their_migrations",
            columns={"step": "integer", "at": "timestamp with time zone"},
            rows="SELECT 'step ' || step AS name, at AS started_at, true AS success, "
            "NULL::bigint AS duration_ms, NULL AS checksum FROM their_migrations ORDER BY step",
        ),
    ),
)
