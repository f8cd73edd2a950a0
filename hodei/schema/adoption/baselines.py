"""Which apps name a baseline, which of them are recorded, and what their migrations build."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from django.apps import AppConfig, apps
from django.utils.module_loading import module_has_submodule

from hodei.schema.adoption.variants import Adoption
from hodei.schema.catalog.model import Catalog
from hodei.schema.drift import BOOKKEEPING
from hodei.schema.errors import SchemaError
from hodei.schema.replay.scratch import REBUILD, ReplayFailed, replay_each
from hodei.schema.results import MigrationKey

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.migrations.loader import MigrationLoader


class BaselineWrong(SchemaError):  # noqa: N818  (it reads as the fact it states)
    """What an app says of its baseline cannot be: nothing on disk fits it."""

    exit_code = 2


class BaselineNotBuilt(SchemaError):  # noqa: N818
    """The baseline could not be built in a scratch schema, so there is nothing to compare with."""

    exit_code = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The first migrations of one app, whose tables others may have made."""

    app: str
    #: All of the app's up to the last one, in order.
    migrations: tuple[MigrationKey, ...]
    adoption: Adoption

    @property
    def last(self) -> MigrationKey:
        return self.migrations[-1]


def baselines(loader: MigrationLoader) -> list[Baseline]:
    """Every installed app's, those first that others depend on. Raises BaselineWrong."""
    order = _order(loader)
    found = []
    for config in apps.get_app_configs():
        name = getattr(config, "schema_baseline", None)
        if name is None:
            continue
        last = config.label, name
        if last not in loader.graph.nodes:
            raise BaselineWrong(
                f"{type(config).__name__}.schema_baseline is {name!r}, and app {config.label} has "
                "no such migration. Name the last one that makes the tables to be adopted."
            )
        plan = loader.graph.forwards_plan(last)
        found.append(
            Baseline(
                app=config.label,
                migrations=tuple(key for key in plan if key[0] == config.label),
                adoption=_adoption_of(config),
            )
        )
    if not found:
        raise BaselineWrong(
            "No installed app names a baseline, so there is nothing to adopt: an app whose tables "
            "another program may have made sets schema_baseline in its AppConfig."
        )
    return sorted(found, key=lambda one: order.index(one.last))


def labels() -> set[str]:
    """The apps that name a baseline."""
    return {config.label for config in apps.get_app_configs() if hasattr(config, "schema_baseline")}


def prerequisites(loader: MigrationLoader, chosen: list[Baseline]) -> list[MigrationKey]:
    """What the baselines depend on and is neither theirs nor applied, in order."""
    theirs = {key for one in chosen for key in one.migrations}
    needed: dict[MigrationKey, None] = {}
    for one in chosen:
        needed.update(dict.fromkeys(loader.graph.forwards_plan(one.last)))
    missing = [key for key in needed if key not in theirs and key not in loader.applied_migrations]
    for key in missing:
        behind = theirs.intersection(loader.graph.forwards_plan(key))
        if behind:
            raise BaselineWrong(
                f"The baselines cannot be adopted before {'.'.join(key)} is applied, which depends "
                f"on one of them ({'.'.join(max(behind))}): name a later baseline."
            )
    return missing


def build(
    connection: BaseDatabaseWrapper, loader: MigrationLoader, chosen: list[Baseline]
) -> Mapping[str, Catalog]:
    """By app: what its baseline makes, as the server prints it. Raises BaselineNotBuilt.

    On a connection of one's own (``private_connection``); nothing is kept.
    """
    order: dict[MigrationKey, None] = {}
    for one in chosen:
        order.update(dict.fromkeys(loader.graph.forwards_plan(one.last)))
    app_of = {key: one.app for one in chosen for key in one.migrations}
    try:
        stages = replay_each(connection, loader, list(order))
    except ReplayFailed as error:
        words = str(error).replace(REBUILD, "").strip()
        raise BaselineNotBuilt(
            f"The baseline cannot be compared with. {words} Nothing was changed."
        ) from error
    made_by: dict[Thing, str] = {}
    for key, after in stages:
        for thing in _things(after):
            made_by.setdefault(thing, app_of.get(key, ""))
    last = stages[-1][1].without(*BOOKKEEPING)
    return {
        one.app: _only(last, {thing for thing, app in made_by.items() if app == one.app})
        for one in chosen
    }


def restrict(catalog: Catalog, to: Catalog) -> Catalog:
    """What ``catalog`` has under the names that are in ``to``."""
    return _only(catalog, set(_things(to)))


def _order(loader: MigrationLoader) -> list[MigrationKey]:
    order: dict[MigrationKey, None] = {}
    for leaf in sorted(loader.graph.leaf_nodes()):
        order.update(dict.fromkeys(loader.graph.forwards_plan(leaf)))
    return list(order)


def _adoption_of(config: AppConfig) -> Adoption:
    if config.module is None or not module_has_submodule(config.module, "adoption"):
        return Adoption()
    name = f"{config.name}.adoption"
    try:
        found = import_module(name).ADOPTION
    except Exception as error:
        raise BaselineWrong(
            f"{name} cannot be used ({type(error).__name__}: {error}). It defines ADOPTION, an "
            "Adoption of hodei.schema.adoption.variants."
        ) from error
    if not isinstance(found, Adoption):
        raise BaselineWrong(
            f"{name}.ADOPTION is {found!r}; it is an Adoption of hodei.schema.adoption.variants."
        )
    return found


_KINDS = ("relations", "sequences", "functions", "types")

Thing = tuple[str, str]


def _things(catalog: Catalog) -> Iterator[Thing]:
    yield from (("extensions", name) for name in catalog.extensions)
    for kind in _KINDS:
        yield from ((kind, name) for name in getattr(catalog, kind))


def _only(catalog: Catalog, things: Collection[Thing]) -> Catalog:
    """Without what is not named; a sequence that belongs to a table goes with the table."""

    def kept(kind: str, name: str) -> bool:
        owner = catalog.sequences[name].owned_by if kind == "sequences" else None
        return (kind, name) in things if owner is None else ("relations", owner[0]) in things

    parts: dict[str, Any] = {
        kind: {name: one for name, one in getattr(catalog, kind).items() if kept(kind, name)}
        for kind in _KINDS
    }
    extensions = tuple(name for name in catalog.extensions if ("extensions", name) in things)
    return replace(catalog, extensions=extensions, **parts)
