"""How the server would run a statement: by which indexes it finds its rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg


class Plan:
    """The nodes of a plan. The table should be large, and analyzed: of a small one everything is
    read."""

    def __init__(self, session: psycopg.Connection[Any], sql: str, parameters: Any = None) -> None:
        self._session = session
        row = session.execute(f"EXPLAIN (FORMAT JSON) {sql}", parameters).fetchone()
        assert row is not None
        (found,) = json.loads(row[0]) if isinstance(row[0], str) else row[0]
        self.nodes = list(_nodes(found["Plan"]))

    def indexes_of(self, table: str) -> set[str]:
        """By which indexes its rows are found; "none" stands for all of them being read."""
        within: set[str] = set()
        for node in self.nodes:
            if "Index Name" in node and (
                node.get("Relation Name") == table or self._table_of(node["Index Name"]) == table
            ):
                within.add(node["Index Name"])
            if node["Node Type"] == "Seq Scan" and node["Relation Name"] == table:
                within.add("none")
        return within

    @property
    def joins(self) -> set[str]:
        return {node["Node Type"] for node in self.nodes} & {
            "Hash Join",
            "Merge Join",
            "Nested Loop",
        }

    def _table_of(self, index: str) -> str:
        row = self._session.execute(
            "SELECT indrelid::regclass::text FROM pg_index WHERE indexrelid = %s::regclass", [index]
        ).fetchone()
        assert row is not None
        return str(row[0])


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from _nodes(part)
