"""What goes with some objects of the catalog, in which order, and who else needs it.

By PostgreSQL's own ``pg_depend``. An index, a trigger, a partition goes with its table by itself; a
view, or the foreign key of another table, stands in its way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

from hodei.schema.replay.makers import Found

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

# The objects, numbered, and what goes with each of them.
_GOES = """
WITH RECURSIVE roots AS (
    SELECT * FROM unnest(%(classids)s::oid[], %(objids)s::oid[])
                  WITH ORDINALITY AS root (classid, objid, number)
), goes AS (
    SELECT classid, objid, number FROM roots
     UNION
    SELECT d.classid, d.objid, goes.number
      FROM goes JOIN pg_depend d ON (d.refclassid, d.refobjid) = (goes.classid, goes.objid)
     WHERE d.deptype IN ('a', 'i', 'P', 'S')
)
"""
# Those that go with another one.
_PARTS = f"""{_GOES}
SELECT DISTINCT roots.number FROM goes JOIN roots USING (classid, objid)
 WHERE goes.number <> roots.number
"""
# (dependent, what it needs)
_NEEDS = f"""{_GOES}
SELECT DISTINCT dependent.number, needed.number
  FROM goes needed
  JOIN pg_depend d ON (d.refclassid, d.refobjid) = (needed.classid, needed.objid)
  JOIN goes dependent ON (dependent.classid, dependent.objid) = (d.classid, d.objid)
 WHERE dependent.number <> needed.number AND d.deptype = 'n'
"""
_OUTSIDERS = f"""{_GOES}
SELECT DISTINCT
       CASE WHEN d.classid = 'pg_rewrite'::regclass
            THEN (SELECT pg_describe_object('pg_class'::regclass, ev_class, 0)
                    FROM pg_rewrite WHERE oid = d.objid)
            ELSE pg_describe_object(d.classid, d.objid, d.objsubid) END,
       needed.number
  FROM goes needed
  JOIN pg_depend d ON (d.refclassid, d.refobjid) = (needed.classid, needed.objid)
 WHERE NOT EXISTS (SELECT FROM goes own
                    WHERE (own.classid, own.objid) = (d.classid, d.objid))
 UNION
SELECT 'publication ' || quote_ident(pubname), number
  FROM goes
  JOIN pg_publication_rel listed
    ON goes.classid = 'pg_class'::regclass AND goes.objid = listed.prrelid
  JOIN pg_publication p ON p.oid = listed.prpubid
 ORDER BY 1, 2
"""
_TABLES = f"""{_GOES}
SELECT DISTINCT goes.number, c.relname, c.relkind::text, n.nspname
  FROM goes
  JOIN pg_class c ON goes.classid = 'pg_class'::regclass AND c.oid = goes.objid
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p')
 ORDER BY c.relname
"""

#: What they are called where they are dropped, if it is not what they are.
_DROPPED_AS = {"composite type": "TYPE", "statistics object": "STATISTICS"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table that goes, a partition that was made at run time too."""

    name: str
    schema: str
    #: The object that it goes with: mostly itself.
    root: Found
    #: A partitioned one has no rows of its own.
    holds_rows: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Belongings:
    """Objects that go together."""

    tables: tuple[Table, ...]
    #: Those that go by themselves, the dependent ones first.
    objects: tuple[Found, ...]
    #: Statements that drop them, in order; the server refuses where something else depends.
    statements: tuple[str, ...]
    #: (what somebody else has, what it needs)
    outsiders: tuple[tuple[str, Found], ...]
    #: Objects of several kinds that need each other, so that none can go first; mostly none.
    circle: tuple[str, ...] = ()


def belongings(connection: BaseDatabaseWrapper, found: Sequence[Found]) -> Belongings:
    """Read what goes with these objects. In the caller's transaction; takes no lock on them."""
    given = {
        "classids": [one.classid for one in found],
        "objids": [one.objid for one in found],
    }

    def rows(query: str) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(query, given)
            answer: list[tuple[Any, ...]] = cursor.fetchall()
        return answer

    parts = {number for (number,) in rows(_PARTS)}
    tops = {number: one for number, one in enumerate(found, 1) if number not in parts}
    needs = [(a, b) for a, b in rows(_NEEDS) if a in tops and b in tops]
    groups, circle = _ordered(tops, needs)
    return Belongings(
        tables=tuple(
            Table(name=name, schema=schema, root=tops[number], holds_rows=kind == "r")
            for number, name, kind, schema in rows(_TABLES)
            if number in tops
        ),
        objects=tuple(one for group in groups for one in group),
        statements=tuple(map(_drop, groups)),
        outsiders=tuple(
            (dependent, tops[number]) for dependent, number in rows(_OUTSIDERS) if number in tops
        ),
        circle=circle,
    )


def _ordered(
    tops: dict[int, Found], needs: Iterable[tuple[int, int]]
) -> tuple[list[list[Found]], tuple[str, ...]]:
    """Pure: groups that one statement drops each, dependents before what they need.

    All tables are one group: their foreign keys may go round in circles.
    """
    group_of = {number: 0 if one.key.type == "table" else number for number, one in tops.items()}
    # What has to be dropped before each.
    before: dict[int, set[int]] = {group: set() for group in sorted(group_of.values())}
    for dependent, needed in needs:
        if group_of[dependent] != group_of[needed]:
            before[group_of[needed]].add(group_of[dependent])
    try:
        order = list(TopologicalSorter(before).static_order())
    except CycleError as error:
        circle = dict.fromkeys(error.args[1])
        return [], tuple(str(tops[number].key) if number else "tables" for number in circle)
    return [
        [one for number, one in tops.items() if group_of[number] == group] for group in order
    ], ()


def _drop(group: Sequence[Found]) -> str:
    kind = group[0].key.type
    names = ", ".join(one.identity for one in group)
    return f"DROP {_DROPPED_AS.get(kind, kind.upper())} {names}"
