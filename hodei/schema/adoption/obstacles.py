"""Pure: why a database cannot be adopted as it is: tables of another shape, names taken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from hodei.schema.adoption.baselines import Baseline
from hodei.schema.adoption.repairs import Step
from hodei.schema.adoption.shapes import reasons
from hodei.schema.catalog.model import Catalog, Relation
from hodei.schema.drift.statements import quoted

_INDEXED = {"p", "u", "x"}


def strange_tables(
    one: Baseline,
    expected: Catalog,
    own: Catalog,
    live: Catalog,
    newest: Mapping[str, frozenset[str]],
) -> Iterator[str]:
    """Tables that the baseline cannot have made; ``own`` has its tables in their newest shape."""
    for name, actual in sorted(own.relations.items()):
        found = reasons(expected.relations[name], actual, newest.get(name, frozenset()))
        if found:
            yield (
                f"Table {name} is not one that {'.'.join(one.last)} makes, in any shape that is "
                f"known: {'; '.join(found)}. If it is another program's, rename it or move it into "
                "another schema; if not, alter it. Then run again."
            )
    for name in sorted((newest.keys() - expected.relations.keys()) & live.relations.keys()):
        yield (
            f"Table {name} is there already, and migrations of {one.app} after the baseline make "
            "it. If this database was migrated before, restore its django_migrations; if the table "
            "is another program's, rename it. Then run again."
        )


def taken_names(steps: Sequence[Step], expected: Catalog, live: Catalog) -> Iterator[str]:
    """Names that a step needs and something else has: tables and indexes share one space."""
    taken = dict(_names(live))
    for step in steps:
        finding = step.finding
        wanted = expected.relations.get((finding and finding.table) or "")
        if finding is None or wanted is None:
            continue
        for name in _needed(finding.object, wanted, finding.expected):
            holder = taken.get(name)
            if holder is not None and holder != finding.table:
                yield (
                    f"{step.subject} cannot be made: the name {name} is taken in this schema, on "
                    f"{holder}. Rename what has it (ALTER INDEX {quoted(name)} RENAME TO ..., "
                    "which does for tables as well), and run again."
                )


def _names(live: Catalog) -> Iterator[tuple[str, str]]:
    """Every name that is taken, and the table it is taken on."""
    for table, relation in live.relations.items():
        yield table, table
        yield from ((one.name, table) for one in relation.indexes)
        yield from ((one.name, table) for one in relation.constraints if one.type in _INDEXED)
    for name, sequence in live.sequences.items():
        yield name, sequence.owned_by[0] if sequence.owned_by else f"sequence {name}"


def _needed(thing: str | None, wanted: Relation, renamed: str | None) -> Iterator[str]:
    """The names that a missing or renamed object takes; of a missing table all that are on it."""
    keys = (one.name for one in wanted.constraints if one.type in _INDEXED)
    names = [wanted.name, *(one.name for one in wanted.indexes), *keys]
    yield from (name for name in names if thing is None or name in {thing, renamed})
