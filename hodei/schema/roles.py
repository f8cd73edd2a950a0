"""Roles for the admin, as groups of Django's: who looks, who operates, who administrates.

An app says in its AppConfig what its roles may: ``admin_roles = {"operator": [...],
"administrator": [...]}``, with the names of permissions on its models. A viewer may view all of its
models; each role has what the one before it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db import DEFAULT_DB_ALIAS, transaction

from hodei.schema.errors import SchemaError

#: From the one who may least.
ROLES = ("viewer", "operator", "administrator")


class RolesUnknown(SchemaError):  # noqa: N818  (it reads as the fact it states)
    """There is nothing to make groups of. The text says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupChange:
    """What becomes of one group, or would become. Permissions are ``app.name``."""

    group: str
    is_new: bool
    added: tuple[str, ...]
    #: What it has beside its role, which somebody gave to it.
    others: tuple[str, ...]
    #: Whether they were taken away.
    removed: bool

    @property
    def changes(self) -> bool:
        return self.is_new or bool(self.added) or (self.removed and bool(self.others))


def group_name(role: str) -> str:
    """Told apart from the groups of the project."""
    return f"Hodei {role}"


def permissions_of_roles() -> dict[str, set[str]]:
    """What each role may, as ``app.name``, by the installed apps."""
    own: dict[str, set[str]] = {role: set() for role in ROLES}
    for config in apps.get_app_configs():
        given: Mapping[str, Iterable[str]] | None = getattr(config, "admin_roles", None)
        if given is None:
            continue
        for model in config.get_models():
            if "view" in model._meta.default_permissions:
                own["viewer"].add(f"{config.label}.view_{model._meta.model_name}")
        for role, names in given.items():
            own[role].update(f"{config.label}.{name}" for name in names)
    found: dict[str, set[str]] = {}
    before: set[str] = set()
    for role in ROLES:
        before = found[role] = before | own[role]
    return found


def make_groups(
    *, exact: bool = False, dry_run: bool = False, using: str = DEFAULT_DB_ALIAS
) -> list[GroupChange]:
    """Make the groups, and give them what they lack; with ``exact`` take away what they have beside
    it. One transaction. Who is in them is left alone. With ``dry_run`` nothing is changed.

    Raises RolesUnknown where Django's permissions are not installed, or not there yet.
    """
    if not apps.is_installed("django.contrib.auth"):
        raise RolesUnknown(
            "django.contrib.auth is not installed, and has the groups. Add it to INSTALLED_APPS."
        )
    wanted = permissions_of_roles()
    known = _known(set().union(*wanted.values()), using)
    missing = sorted(wanted[ROLES[-1]] - known.keys())
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise RolesUnknown(
            f"The database lacks the permission {missing[0]}{more}. Permissions come with migrate: "
            "run it first. Nothing was changed."
        )
    with transaction.atomic(using=using):
        return [
            _made(role, {name: known[name] for name in wanted[role]}, exact, dry_run, using)
            for role in ROLES
        ]


def _known(names: set[str], using: str) -> dict[str, Any]:
    from django.contrib.auth.models import Permission  # noqa: PLC0415  (where it is installed)

    labels = {name.partition(".")[0] for name in names}
    rows = Permission.objects.using(using).select_related("content_type")
    rows = rows.filter(content_type__app_label__in=labels)
    found = {f"{row.content_type.app_label}.{row.codename}": row for row in rows}
    return {name: row for name, row in found.items() if name in names}


def _made(
    role: str,
    wanted: Mapping[str, Any],
    exact: bool,  # noqa: FBT001
    dry_run: bool,  # noqa: FBT001
    using: str,
) -> GroupChange:
    from django.contrib.auth.models import Group  # noqa: PLC0415  (as above)

    groups = Group.objects.using(using)
    name = group_name(role)
    group = groups.filter(name=name).first()
    rows = () if group is None else group.permissions.select_related("content_type")
    has = {f"{row.content_type.app_label}.{row.codename}": row for row in rows}
    change = GroupChange(
        group=name,
        is_new=group is None,
        added=tuple(sorted(wanted.keys() - has.keys())),
        others=tuple(sorted(has.keys() - wanted.keys())),
        removed=exact,
    )
    if not dry_run:
        # Two who do this at once do the same.
        group, _ = groups.get_or_create(name=name)
        group.permissions.add(*(wanted[one] for one in change.added))
        if exact:
            group.permissions.remove(*(has[one] for one in change.others))
    return change
