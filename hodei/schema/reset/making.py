"""Which app has made what is in the database: by replaying the applied migrations, noting.

Beside the real tables in a scratch schema, which is quick; where the migrations cannot run there
(SQL that names the schema, types of an extension, very many tables), in a temporary database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hodei.schema.catalog.model import Catalog
from hodei.schema.errors import SchemaError
from hodei.schema.replay.makers import Change, Makers, ObjectKey
from hodei.schema.replay.rebuild import RebuildFailed, rebuild
from hodei.schema.replay.scratch import ReplayFailed, applied_plan, replay

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.migrations.loader import MigrationLoader


class BelongingsUnknown(SchemaError):  # noqa: N818  (it reads as the fact it states)
    """The applied migrations cannot be replayed, so nobody can tell what is whose."""

    exit_code = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What the applied migrations build, by whom, and what is there."""

    schema: str
    makers: Mapping[ObjectKey, str]
    changes: tuple[Change, ...]
    expected: Catalog
    live: Catalog


def who_made_what(
    connection: BaseDatabaseWrapper, loader: MigrationLoader, schema: str, live: Catalog
) -> Made:
    """Replay, and keep nothing. ``connection`` is private, and outside of a transaction. Raises
    BelongingsUnknown."""
    makers = Makers(connection)
    try:
        expected = replay(connection, loader, (), makers.look)
    except ReplayFailed as failure:
        makers = Makers(connection)
        try:
            expected = rebuild(connection, applied_plan(loader), live, schema, makers)
        except RebuildFailed as error:
            raise BelongingsUnknown(
                "What belongs to the apps cannot be told, so nothing was changed: the applied "
                f"migrations could be replayed neither beside the tables ({failure.reason}) nor in "
                f"a temporary database ({error})."
            ) from error
    return Made(
        schema=schema,
        makers=makers.made,
        changes=tuple(makers.changes),
        expected=expected.catalog,
        live=live,
    )
