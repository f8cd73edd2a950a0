"""What a database holds, read from PostgreSQL's catalog in the shape of the contract."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.databases import Migrated

CONTRACT = Path(__file__).parent / "contract" / "reference_schema.json"

TABLES = """
SELECT relname, obj_description(oid, 'pg_class') FROM pg_class
 WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace
"""
COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull,
       CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END,
       a.attidentity, a.attgenerated, col_description(a.attrelid, a.attnum)
  FROM pg_attribute a
  LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
 WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attnum
"""
CONSTRAINTS = """
SELECT conname, contype, pg_get_constraintdef(oid), convalidated, condeferrable, condeferred
  FROM pg_constraint WHERE conrelid = %s::regclass AND contype <> 'n' ORDER BY conname
"""
INDEXES = """
SELECT c.relname, pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisunique,
       obj_description(i.indexrelid, 'pg_class')
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
 WHERE i.indrelid = %s::regclass ORDER BY c.relname
"""
TRIGGERS = """
SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger
 WHERE tgrelid = %s::regclass AND NOT tgisinternal ORDER BY tgname
"""


def read(database: Migrated) -> dict[str, Any]:
    """Every table: comment, columns in order, constraints, indexes and triggers."""
    found = {}
    for table, comment in database.rows(TABLES):
        found[table] = {
            "comment": comment,
            "columns": [
                {
                    "name": name,
                    "type": kind,
                    "nullable": nullable,
                    # Serial and identity count as equal: a number given by a sequence.
                    "default": "(sequence)" if _numbered(default, identity) else default,
                    "comment": text,
                    **({"generated": True} if generated else {}),
                }
                for name, kind, nullable, default, identity, generated, text in database.rows(
                    COLUMNS, [table]
                )
            ],
            "constraints": [
                {
                    "name": name,
                    "definition": definition,
                    "validated": validated,
                    "deferrable": deferrable,
                    "deferred": deferred,
                }
                for name, _kind, definition, validated, deferrable, deferred in database.rows(
                    CONSTRAINTS, [table]
                )
            ],
            "indexes": [
                {
                    "name": name,
                    "definition": definition,
                    "valid": valid,
                    "unique": unique,
                    "comment": text,
                }
                for name, definition, valid, unique, text in database.rows(INDEXES, [table])
            ],
            "triggers": [
                {"name": name, "definition": definition}
                for name, definition in database.rows(TRIGGERS, [table])
            ],
        }
    return found


def contract() -> dict[str, Any]:
    """The reference schema, its parts put into the same shape."""
    reference = json.loads(CONTRACT.read_text())
    return {
        table: {
            "comment": facts["comment"],
            "columns": [
                {
                    "name": column["name"],
                    "type": column["type"],
                    "nullable": column["nullable"],
                    "default": "(sequence)"
                    if _numbered(column["default"], column["identity"])
                    else column["default"],
                    "comment": column["comment"],
                }
                for column in facts["columns"]
            ],
            "constraints": sorted(_constraints(facts), key=lambda item: str(item["name"])),
            "indexes": [
                {
                    "name": index["name"],
                    "definition": index["definition"],
                    "valid": index["valid"],
                    "unique": index["unique"],
                    "comment": index["comment"],
                }
                for index in facts["indexes"]
            ],
            "triggers": facts["triggers"],
        }
        for table, facts in reference.items()
    }


def _numbered(default: str | None, identity: str | None) -> bool:
    return bool(identity) or bool(default and re.match(r"nextval\(", default))


def _constraints(facts: dict[str, Any]) -> list[dict[str, Any]]:
    plain = {"validated": True, "deferrable": False, "deferred": False}

    def listed(columns: list[str]) -> str:
        return ", ".join(columns)

    key = facts["primary_key"]
    return [
        {"name": key["name"], "definition": f"PRIMARY KEY ({listed(key['columns'])})", **plain},
        *(
            {"name": one["name"], "definition": f"UNIQUE ({listed(one['columns'])})", **plain}
            for one in facts["uniques"]
        ),
        *(
            {
                "name": one["name"],
                "definition": one["definition"],
                **plain,
                "validated": one["validated"],
            }
            for one in facts["checks"]
        ),
        *(
            {
                "name": one["name"],
                "definition": (
                    f"FOREIGN KEY ({listed(one['columns'])}) REFERENCES {one['ref_table']}"
                    f"({listed(one['ref_columns'])})"
                    + ("" if one["on_update"] == "NO ACTION" else f" ON UPDATE {one['on_update']}")
                    + ("" if one["on_delete"] == "NO ACTION" else f" ON DELETE {one['on_delete']}")
                ),
                "validated": one["validated"],
                "deferrable": one["deferrable"],
                "deferred": one["deferred"],
            }
            for one in facts["foreign_keys"]
        ),
    ]
