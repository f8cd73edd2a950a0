"""Which app made what: read off a replay, after the migrations of each app.

An object is known by what it is, its name and the types of its arguments, as PostgreSQL's
``pg_identify_object_as_address`` has them, with the schema left out: so the same object has the
same key in a scratch schema and in the real one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from hodei.schema.catalog.inspection import read_catalog

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from hodei.schema.catalog.model import Catalog


class ObjectKey(NamedTuple):
    """One object of a schema; what belongs to a table (columns, indexes, triggers) is none."""

    #: "table", "view", "function", "type", "sequence" and so on, as PostgreSQL calls it.
    type: str
    #: Mostly one; of an operator class the access method, too.
    names: tuple[str, ...]
    arguments: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.names[-1]

    def __str__(self) -> str:
        arguments = ", ".join(one.removeprefix("pg_catalog.") for one in self.arguments)
        return f"{self.type} {self.name}" + (f"({arguments})" if self.takes_arguments else "")

    @property
    def takes_arguments(self) -> bool:
        return self.type in {"function", "procedure", "aggregate", "operator"}


class Found(NamedTuple):
    """Where an object is in the catalog, and what it is called in SQL, with its schema."""

    key: ObjectKey
    classid: int
    objid: int
    identity: str


class Change(NamedTuple):
    """What one app had made, the migrations of another have changed or dropped."""

    key: ObjectKey
    maker: str
    app: str


# Everything in a schema hangs on it by itself; what is part of something else hangs on that.
_OBJECTS = """
SELECT DISTINCT d.classid::bigint, d.objid::bigint, address.type, address.object_names,
       address.object_args, identity.identity, quote_ident(n.nspname) || '.'
  FROM pg_depend d JOIN pg_namespace n ON n.oid = d.refobjid,
       LATERAL pg_identify_object_as_address(d.classid, d.objid, 0) address,
       LATERAL pg_identify_object(d.classid, d.objid, 0) identity
 WHERE d.refclassid = 'pg_namespace'::regclass AND d.deptype = 'n' AND d.objsubid = 0
   AND n.nspname = %s
   AND NOT EXISTS (SELECT FROM pg_depend e WHERE (e.classid, e.objid) = (d.classid, d.objid)
                      AND e.deptype = 'e')
 ORDER BY identity.identity
"""


def objects_of(connection: BaseDatabaseWrapper, schema: str) -> Iterator[Found]:
    """Everything in the schema, but for what an extension brought. Takes no lock on it."""
    with connection.cursor() as cursor:
        cursor.execute(_OBJECTS, [schema])
        rows = cursor.fetchall()
    for classid, objid, kind, names, arguments, identity, prefix in rows:
        # A type is one word, printed with its schema.
        own = [name.removeprefix(prefix) for name in names]
        if schema in own:
            own.remove(schema)
        key = ObjectKey(
            kind, tuple(own), tuple(argument.removeprefix(prefix) for argument in arguments)
        )
        yield Found(key, classid, objid, identity)


@dataclass
class Makers:
    """Call ``look`` when the migrations of an app have run, and before those of another; in a
    transaction, whose search path it changes."""

    connection: BaseDatabaseWrapper
    #: The app that made each object that is there at the end.
    made: dict[ObjectKey, str] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    _before: Mapping[ObjectKey, Any] = field(default_factory=dict)

    def look(self, app: str, schema: str) -> None:
        catalog = read_catalog(self.connection, schema)
        now = {one.key: _text_of(one.key, catalog) for one in objects_of(self.connection, schema)}
        for key, text in self._before.items():
            maker = self.made[key]
            if maker != app and now.get(key, self) != text:
                self.changes.append(Change(key, maker, app))
            if key not in now:
                del self.made[key]
        for key in now:
            self.made.setdefault(key, app)
        self._before = now

    def to_json(self) -> dict[str, Any]:
        """What was learnt, as plain values."""
        return {"made": list(self.made.items()), "changes": self.changes}

    def from_json(self, document: Mapping[str, Any]) -> None:
        """Learn what another process has seen."""
        self.made = {_key(found): app for found, app in document["made"]}
        self.changes = [Change(_key(found), *apps) for found, *apps in document["changes"]]


def _key(found: Any) -> ObjectKey:
    kind, names, arguments = found
    return ObjectKey(kind, tuple(names), tuple(arguments))


def _text_of(key: ObjectKey, catalog: Catalog) -> Any:
    """How the object is defined, as far as the catalog's reader knows its kind."""
    if key.takes_arguments:
        return [one for name, one in catalog.functions.items() if name.startswith(f"{key.name}(")]
    kinds: tuple[Mapping[str, Any], ...] = (catalog.relations, catalog.sequences, catalog.types)
    return [kind[key.name] for kind in kinds if key.name in kind]
