"""Pure: who owns a table, and who may do what with it. Compared only where it is asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from hodei.schema.catalog.model import Catalog, Relation
from hodei.schema.drift import statements as sql
from hodei.schema.drift.wording import found
from hodei.schema.results import Finding, FindingKind

OWNER = "(owner)"


def rights(
    expected: Relation, actual: Relation, wanted: Catalog, there: Catalog, owner: str | None
) -> Iterator[Finding]:
    """``owner`` is who ran the migrations here: a replay was run by somebody else, maybe.

    What new tables are given by ALTER DEFAULT PRIVILEGES is expected of all that this owner has.
    """
    wanted_owner = owner if expected.owner == wanted.role and owner else expected.owner
    if wanted_owner and wanted_owner != actual.owner:
        yield found(
            FindingKind.OWNER,
            table=actual.name,
            expected=wanted_owner,
            actual=actual.owner,
            repair=(sql.alter(actual, f"OWNER TO {sql.quoted(wanted_owner)}"),),
        )
    if expected.privileges is None or actual.privileges is None:
        return
    by_default = {
        grant
        for role, _bar, grant in (text.partition("|") for text in there.default_privileges)
        if role == wanted_owner
    }
    should, has = {*expected.privileges, *by_default}, {*actual.privileges}
    if should != has:
        holder = sql.quoted(wanted_owner or actual.owner or "")
        yield found(
            FindingKind.PRIVILEGES,
            table=actual.name,
            expected=_listed(should),
            actual=_listed(has),
            repair=(
                *_changes("GRANT", "TO", should - has, actual, holder),
                *_changes("REVOKE", "FROM", has - should, actual, holder),
            ),
        )


def _by_role(grants: Iterable[str]) -> dict[str, list[str]]:
    found_of: dict[str, list[str]] = defaultdict(list)
    for grant in sorted(grants):
        role, _equals, privilege = grant.rpartition("=")
        found_of[role].append(privilege)
    return found_of


def _listed(grants: Iterable[str]) -> str:
    return "; ".join(f"{role}: {', '.join(what)}" for role, what in _by_role(grants).items())


def _changes(
    verb: str, preposition: str, grants: Iterable[str], relation: Relation, owner: str
) -> Iterator[str]:
    for role, what in _by_role(grants).items():
        to = owner if role == OWNER else role if role == "PUBLIC" else sql.quoted(role)
        table = sql.quoted(relation.name)
        yield f"{verb} {', '.join(what)} ON TABLE {table} {preposition} {to}"
